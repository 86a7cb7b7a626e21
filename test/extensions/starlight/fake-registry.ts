import {
  type BlobRange,
  type CallerAuthorization,
  type RegistryBlob,
  type RegistryManifest,
  RegistryReadError,
  type RegistryReader,
} from '../../../extensions/starlight/registry-reader.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import type { MadeDocument, MadeImage } from './made-image.ts';

interface FakeRepository {
  readonly manifests: Map<string, MadeDocument>;
  readonly blobs: Map<string, Buffer>;
  /** The Authorization that may read it; undefined lets everybody. */
  owner: string | undefined;
}

/** A registry in memory, with rights, that notes what it is asked. */
export class FakeRegistry implements RegistryReader {
  readonly repositories = new Map<string, FakeRepository>();
  readonly asked: string[] = [];
  /** Set to make every answer this error. */
  failure: RegistryReadError | undefined;
  /** Called before a blob is answered. */
  onBlob: ((digest: Digest) => void | Promise<void>) | undefined;

  repository(name: string): FakeRepository {
    const found = this.repositories.get(name) ?? {
      manifests: new Map(),
      blobs: new Map(),
      owner: undefined,
    };
    this.repositories.set(name, found);
    return found;
  }

  push(name: string, tag: string | undefined, image: MadeImage): void {
    const { blobs } = this.repository(name);
    for (const { digest, bytes } of image.blobs) blobs.set(digest, bytes);
    this.pushDocument(name, tag, image.manifest);
  }

  pushDocument(name: string, tag: string | undefined, document: MadeDocument): void {
    const { manifests } = this.repository(name);
    manifests.set(document.digest, document);
    if (tag !== undefined) manifests.set(tag, document);
  }

  blobReads(): readonly string[] {
    return this.asked.filter((line) => line.startsWith('blob'));
  }

  async manifest(
    name: string,
    reference: string,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryManifest | undefined> {
    signal.throwIfAborted();
    this.asked.push(`manifest ${name} ${reference}`);
    return this.#open(name, auth)?.manifests.get(reference);
  }

  async blob(
    name: string,
    digest: Digest,
    range: BlobRange | undefined,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryBlob | undefined> {
    signal.throwIfAborted();
    this.asked.push(`blob ${name} ${digest} ${range === undefined ? '' : `${range.offset}+${range.length}`}`);
    const blob = this.#open(name, auth)?.blobs.get(digest);
    await this.onBlob?.(digest);
    signal.throwIfAborted();
    if (blob === undefined) return undefined;
    const bytes = range === undefined ? blob : blob.subarray(range.offset, range.offset + range.length);
    return { sizeBytes: bytes.length, bytes: chunks(bytes) };
  }

  async referrers(): Promise<readonly never[]> {
    return [];
  }

  #open(name: string, auth: CallerAuthorization): FakeRepository | undefined {
    if (this.failure !== undefined) throw this.failure;
    const repository = this.repositories.get(name);
    if (repository?.owner === undefined || repository.owner === auth) return repository;
    if (auth !== undefined) throw new RegistryReadError({ kind: 'denied' }, 'denied');
    const challenges = ['Bearer realm="https://auth.example/token"', 'Basic realm="x"'];
    throw new RegistryReadError({ kind: 'unauthorized', challenges }, 'unauthorized');
  }
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 5_000) yield bytes.subarray(at, at + 5_000);
}
