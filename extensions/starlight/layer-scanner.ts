import { LayerError } from '../../schemas/layer/layer-error.ts';
import { type ScannedLayer, scanLayer } from '../../schemas/layer/scan-layer.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { type Descriptor, parseManifest } from '../../schemas/oci/types.ts';
import { TocError } from '../../schemas/toc/error.ts';
import { encodeLayerToc } from '../../schemas/toc/layer-codec.ts';
import type { Directory, LayerRecord, RawDocument } from './directory.ts';
import { pack } from './packed.ts';
import type { RegistryBlob } from './registry-reader.ts';
import type { CallerRepository, IngestRepository } from './resolve.ts';
import { SingleFlight } from '../../schemas/concurrency/single-flight.ts';
import { Semaphore } from '../../schemas/concurrency/semaphore.ts';
import { StarlightError } from './starlight-error.ts';

/** Layers read and inflated at once, by all ingests of this process: it is work for the processor. */
export const LAYERS_AT_ONCE = 3;

/** Gives the tables of layers: from the directory where this registry has shown them, else by reading the layer once from its first byte to its last. */
export class LayerScanner {
  readonly #directory: Directory;
  readonly #slots = new Semaphore(LAYERS_AT_ONCE);
  readonly #flights = new SingleFlight<LayerRecord>();

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /**
   * The records of these layers of a manifest, in their order.
   * @param scanned what this caller's ingest has read so far, of this repository; added to.
   * @throws {StarlightError} `image-refused` when a layer is missing, damaged or unfit.
   */
  async layers(
    repository: IngestRepository,
    manifest: Digest,
    descriptors: readonly Descriptor[],
    scanned: Map<Digest, LayerRecord>,
    signal: AbortSignal,
  ): Promise<readonly LayerRecord[]> {
    const wanted = new Map(descriptors.map((layer) => [layer.digest, layer]));
    const unique = [...wanted.values()].filter(({ digest }) => !scanned.has(digest));
    const found = await this.#directory.layers(
      repository.registry,
      unique.map(({ digest }) => digest),
      signal,
    );
    const known = new Map(found.map((layer) => [layer.digest, layer]));
    // The first that fails ends the others.
    const failed = new AbortController();
    const together = AbortSignal.any([signal, failed.signal]);
    const work = unique.map(async (descriptor) => {
      try {
        const record = known.get(descriptor.digest);
        if (record === undefined) return await this.#scanOnce(repository, manifest, descriptor, together);
        await this.#slots.run(() => mayRead(repository, manifest, descriptor, together), together);
        return record;
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    });
    for (const result of await Promise.allSettled(work)) {
      if (result.status === 'fulfilled') scanned.set(result.value.digest, result.value);
    }
    signal.throwIfAborted();
    if (failed.signal.aborted) throw failed.signal.reason;
    return descriptors.flatMap(({ digest }) => scanned.get(digest) ?? []);
  }

  /**
   * That a repository holds the blobs of an image that the directory knows from elsewhere. A registry may take a
   * manifest without them, and whoever knows its bytes may push it: that gives no right to what it names.
   * @throws {StarlightError} `image-refused` when one is missing.
   */
  async prove(repository: CallerRepository, document: RawDocument, signal: AbortSignal): Promise<void> {
    const { config, layers } = parseManifest(document.bytes);
    const wanted = new Map([config, ...layers].map((blob) => [blob.digest, blob]));
    for (const blob of wanted.values()) {
      await this.#slots.run(() => mayRead(repository, document.digest, blob, signal), signal);
    }
  }

  #scanOnce(
    repository: IngestRepository,
    manifest: Digest,
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<LayerRecord> {
    // Keyed by the caller too: nobody gets what was read with another's rights.
    const { registry, name, auth } = repository;
    const key = JSON.stringify([registry, name, descriptor.digest, auth ?? null]);
    return this.#flights.run(
      key,
      (shared) => this.#slots.run(() => scan(repository, manifest, descriptor, shared), shared),
      signal,
    );
  }
}

/**
 * What the directory knows may have come from a repository that this caller cannot read. That the caller may
 * read the blob here is therefore asked by reading one byte of it.
 */
async function mayRead(
  repository: CallerRepository,
  manifest: Digest,
  { digest }: Descriptor,
  signal: AbortSignal,
): Promise<void> {
  const range = { offset: 0, length: 1 };
  const blob = await repository.reader.blob(repository.name, digest, range, repository.auth, signal);
  if (blob === undefined) throw missing(manifest, digest);
  await drain(blob);
}

async function drain(blob: RegistryBlob): Promise<void> {
  for await (const _ of blob.bytes);
}

async function scan(
  repository: CallerRepository,
  manifest: Digest,
  { digest, size }: Descriptor,
  signal: AbortSignal,
): Promise<LayerRecord> {
  // Whatever becomes of the scan, the blob is let go of at its end.
  using reading = new Reading(signal);
  const { name, auth, reader } = repository;
  const blob = await reader.blob(name, digest, undefined, auth, reading.signal);
  if (blob === undefined) throw missing(manifest, digest);
  let scanned: ScannedLayer;
  let toc: Uint8Array;
  try {
    scanned = await scanLayer(blob.bytes, signal);
    toc = encodeLayerToc(scanned.toc);
  } catch (error) {
    if (!(error instanceof LayerError || error instanceof TocError)) throw error;
    throw refused(manifest, `layer ${digest}: ${error.message}`, error);
  }
  if (scanned.layerDigest !== digest || scanned.sizeBytes !== size) {
    const found = `${scanned.layerDigest} of ${scanned.sizeBytes} bytes`;
    throw refused(manifest, `its layer ${digest} of ${size} bytes is in the registry ${found}`);
  }
  if (scanned.compression !== 'gzip') throw refused(manifest, `layer ${digest} is not gzip inside`);
  return {
    digest,
    diffId: scanned.diffId,
    sizeBytes: size,
    ...(scanned.estargz === undefined ? {} : { estargzTocDigest: scanned.estargz.tocDigest }),
    toc: await pack(toc),
  };
}

class Reading {
  readonly #controller = new AbortController();
  readonly signal: AbortSignal;

  constructor(outer: AbortSignal) {
    this.signal = AbortSignal.any([outer, this.#controller.signal]);
  }

  [Symbol.dispose](): void {
    this.#controller.abort();
  }
}

function missing(manifest: Digest, blob: Digest): StarlightError {
  return refused(manifest, `its blob ${blob} is not in the repository`);
}

function refused(manifest: Digest, reason: string, cause?: unknown): StarlightError {
  return new StarlightError({ kind: 'image-refused', manifest, reason }, { cause });
}
