import {
  type BlobRange,
  type CallerAuthorization,
  type RegistryBlob,
  type RegistryManifest,
  RegistryReadError,
  type RegistryReader,
} from '../../extensions/starlight/registry-reader.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { Descriptor } from '../../schemas/oci/types.ts';
import { repositoryName } from '../registry/repository-name.ts';
import { AccessError } from './access-error.ts';
import type { Gate } from './gate.ts';

/** Reads a registry of our own for the extension: for callers that may pull, as an upstream would have it. */
export class GuardedReader implements RegistryReader {
  readonly #reader: RegistryReader;
  readonly #gate: Gate;

  constructor(reader: RegistryReader, gate: Gate) {
    this.#reader = reader;
    this.#gate = gate;
  }

  async manifest(
    name: string,
    reference: string,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryManifest | undefined> {
    await this.#requirePull(name, auth);
    return await this.#reader.manifest(name, reference, auth, signal);
  }

  async blob(
    name: string,
    digest: Digest,
    range: BlobRange | undefined,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryBlob | undefined> {
    await this.#requirePull(name, auth);
    return await this.#reader.blob(name, digest, range, auth, signal);
  }

  async referrers(
    name: string,
    digest: Digest,
    artifactType: string | undefined,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<readonly Descriptor[]> {
    await this.#requirePull(name, auth);
    return await this.#reader.referrers(name, digest, artifactType, auth, signal);
  }

  /** What is no name of a repository is left to the reader, which has none of that name. */
  async #requirePull(name: string, auth: CallerAuthorization): Promise<void> {
    const repository = repositoryName(name);
    try {
      const caller = await this.#gate.caller(auth);
      if (repository !== undefined) this.#gate.require(caller, repository, 'pull');
    } catch (error) {
      throw error instanceof AccessError ? readErrorOf(error) : error;
    }
  }
}

function readErrorOf(error: AccessError): RegistryReadError {
  const { fault } = error;
  switch (fault.kind) {
    case 'unauthorized':
      return new RegistryReadError({ kind: 'unauthorized', challenges: [fault.challenge] }, error.message);
    case 'denied':
      return new RegistryReadError({ kind: 'denied' }, error.message);
    case 'login-busy': {
      const retryAfter = String(fault.retryAfterS);
      return new RegistryReadError({ kind: 'unavailable', status: 429, retryAfter }, error.message);
    }
    default:
      return fault satisfies never;
  }
}
