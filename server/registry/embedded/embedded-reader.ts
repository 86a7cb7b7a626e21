import {
  type BlobRange,
  type CallerAuthorization,
  type RegistryBlob,
  type RegistryManifest,
  RegistryReadError,
  type RegistryReader,
} from '../../../extensions/starlight/registry-reader.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import type { Descriptor } from '../../../schemas/oci/types.ts';
import { ownedBytes } from '../owned-bytes.ts';
import { repositoryName } from '../repository-name.ts';
import type { EmbeddedRegistry } from './embedded-registry.ts';

/** Reads the embedded registry, which lets everybody read: the caller's credentials do not matter. */
export class EmbeddedReader implements RegistryReader {
  readonly #registry: EmbeddedRegistry;

  constructor(registry: EmbeddedRegistry) {
    this.#registry = registry;
  }

  async manifest(
    name: string,
    reference: string,
    _auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryManifest | undefined> {
    signal.throwIfAborted();
    const repository = repositoryName(name);
    if (repository === undefined) return undefined;
    return this.#registry.manifests.read(this.#registry.files(repository), reference);
  }

  async blob(
    name: string,
    digest: Digest,
    range: BlobRange | undefined,
    _auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryBlob | undefined> {
    signal.throwIfAborted();
    const repository = repositoryName(name);
    if (repository === undefined) return undefined;
    const blob = await this.#registry.blobs.open(this.#registry.files(repository), digest);
    if (blob === undefined) return undefined;
    if (
      range !== undefined &&
      (range.offset < 0 || range.length < 0 || range.offset + range.length > blob.sizeBytes)
    ) {
      await blob.close();
      throw new RegistryReadError(
        { kind: 'protocol' },
        `${digest} has ${blob.sizeBytes} bytes, the range goes beyond`,
      );
    }
    const sizeBytes = range?.length ?? blob.sizeBytes;
    if (sizeBytes === 0) {
      await blob.close();
      return { sizeBytes, bytes: nothing() };
    }
    const stream = blob.stream(
      range === undefined ? undefined : { start: range.offset, end: range.offset + range.length - 1 },
    );
    const abort = () => stream.destroy(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    stream.once('close', () => signal.removeEventListener('abort', abort));
    // Whoever iterates is told; without a listener an abort before that would end the process.
    stream.on('error', () => undefined);
    return { sizeBytes, bytes: ownedBytes(stream, chunksOf(stream)) };
  }

  async referrers(
    name: string,
    digest: Digest,
    artifactType: string | undefined,
    _auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<readonly Descriptor[]> {
    signal.throwIfAborted();
    const repository = repositoryName(name);
    if (repository === undefined) return [];
    const all = await this.#registry.manifests.referrers(this.#registry.files(repository), digest);
    return artifactType === undefined ? all : all.filter((one) => one.artifactType === artifactType);
  }
}

async function* chunksOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* stream;
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
