import { LRUCache } from 'lru-cache';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { HeaderList } from '../registry/registry.ts';
import type { RepositoryName } from '../registry/repository-name.ts';
import type { Question } from './question.ts';

/** That the upstream let one caller have something, and what it said of it. */
export interface Proof {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Of the upstream's answer: what describes the content, and nothing else. */
  readonly headers: HeaderList;
  readonly atMs: number;
}

/** Proofs in all, whoever asks for whatever. What was asked for longest ago goes first, with all its proofs. */
const MAX_PROOFS = 200_000;
/** Callers remembered for one thing; the one who came first is forgotten first. */
const MAX_ASKERS = 256;

/** What upstreams let whom have, in memory: after a restart everybody proves anew. */
export class Proofs {
  readonly #resources: LRUCache<string, Map<string, Proof>>;

  constructor(maxProofs = MAX_PROOFS) {
    this.#resources = new LRUCache({ maxSize: maxProofs });
  }

  get size(): number {
    return this.#resources.calculatedSize;
  }

  get({ resource, asker }: Question): Proof | undefined {
    return this.#resources.get(resource)?.get(asker);
  }

  set({ resource, asker }: Question, proof: Proof): void {
    const askers = this.#resources.get(resource) ?? new Map<string, Proof>();
    askers.delete(asker);
    askers.set(asker, proof);
    const [oldest] = askers.keys();
    if (askers.size > MAX_ASKERS && oldest !== undefined) askers.delete(oldest);
    this.#put(resource, askers);
  }

  forget({ resource, asker }: Question): void {
    const askers = this.#resources.get(resource);
    if (askers?.delete(asker) !== true) return;
    this.#put(resource, askers);
  }

  forgetResource(resource: string): void {
    this.#resources.delete(resource);
  }

  /** Every manifest and tag of a repository. */
  forgetManifests(name: RepositoryName): void {
    for (const resource of [...this.#resources.keys()]) {
      if (resource.startsWith(`${name}\nmanifest\n`)) this.#resources.delete(resource);
    }
  }

  /** Taken out first: the cache would not count the same map anew. */
  #put(resource: string, askers: Map<string, Proof>): void {
    this.#resources.delete(resource);
    if (askers.size > 0) this.#resources.set(resource, askers, { size: askers.size });
  }
}
