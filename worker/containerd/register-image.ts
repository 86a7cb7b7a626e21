import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { type ChainId, chainIds } from '../../schemas/oci/chain-id.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { isIndexType, isManifestType, layerCompression } from '../../schemas/oci/media-types.ts';
import { type Descriptor, parseImageConfig, parseIndex, parseManifest } from '../../schemas/oci/types.ts';
import type { ContainerdClient, Labels, Scope } from './client.ts';
import { ContainerdError } from './containerd-error.ts';

/** A document of an image as its bytes, which its digest covers. */
export type Blob = { readonly digest: Digest; readonly mediaType: string; readonly bytes: Uint8Array };

/** What containerd is to know of an image. All of it was verified before. */
export type RegisteredImage = {
  /** The name that users will say, in full: host, path, tag or digest. */
  readonly name: string;
  /** Where it comes from, for containerd's `distribution.source` label: registry host and repository path. */
  readonly source: { readonly host: string; readonly repository: string };
  readonly index?: Blob;
  readonly manifest: Blob;
  readonly config: Blob;
};

/** A pull that dies leaves a lease behind; containerd drops it after this time. */
const LEASE_LIFETIME_MS = 3600_000;
/** The snapshot may be collected between "it exists" and "it is leased"; then it is asked for again. */
const PREPARE_ATTEMPTS = 3;

/**
 * Makes an image known to containerd as its own pull and unpack would (v1.6: pull.go, unpacker.go, image.go),
 * save that no layer is fetched: the snapshotter is asked for each by chainID and has it. Afterwards
 * `ctr run --snapshotter starlight NAME` works. Doing it again changes nothing.
 *
 * @throws {ContainerdError}; `snapshotter` when a layer is not taken as a remote one.
 */
export async function registerImage(
  client: ContainerdClient,
  namespace: string,
  snapshotter: string,
  image: RegisteredImage,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const lease = `starlight-${randomUUID()}`;
  await client.createLease(namespace, lease, new Date(Date.now() + LEASE_LIFETIME_MS), signal);
  try {
    const scope = { namespace, lease };
    const chain = chainIds(parseImageConfig(image.config.bytes).rootfs.diff_ids);
    await writeDocuments(client, scope, image, signal);
    for (const [row, chainId] of chain.entries()) {
      await ensureSnapshot(client, scope, snapshotter, chain[row - 1], chainId, signal);
    }
    const top = chain.at(-1);
    if (top !== undefined) {
      const labels = { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: top };
      await client.labelBlob(scope, image.config.digest, labels, signal);
    }
    const target = image.index ?? image.manifest;
    await client.putImage(
      scope,
      image.name,
      {
        media_type: target.mediaType,
        digest: target.digest,
        size: String(target.bytes.byteLength),
        annotations: {},
      },
      signal,
    );
  } finally {
    // An aborted pull gives its lease back too, so with a signal of its own.
    await client.deleteLease(namespace, lease, AbortSignal.timeout(5000)).catch((error: unknown) => {
      log.warn({ err: error, lease }, 'the lease of a pull is left to expire');
    });
  }
}

async function writeDocuments(
  client: ContainerdClient,
  scope: Scope,
  image: RegisteredImage,
  signal: AbortSignal,
): Promise<void> {
  const source = sourceLabels(image.source);
  const manifest = parseManifest(image.manifest.bytes);
  await client.writeBlob(scope, image.config.digest, image.config.bytes, source, signal);
  const manifestLabels = { ...source, ...childLabels([manifest.config, ...manifest.layers]) };
  await client.writeBlob(scope, image.manifest.digest, image.manifest.bytes, manifestLabels, signal);
  if (image.index === undefined) return;
  const indexLabels = { ...source, ...childLabels(parseIndex(image.index.bytes).manifests) };
  await client.writeBlob(scope, image.index.digest, image.index.bytes, indexLabels, signal);
}

/** containerd, images/mediatypes.go, ChildGCLabels: what a document refers to is kept with it. */
function childLabels(children: readonly Descriptor[]): Labels {
  const counts = new Map<string, number>();
  const labels: Record<string, string> = {};
  for (const child of children) {
    const prefix = childPrefix(child.mediaType);
    const count = counts.get(prefix) ?? 0;
    counts.set(prefix, count + 1);
    const numbered = prefix.endsWith('.') || count > 0;
    labels[numbered ? `${prefix}${prefix.endsWith('.') ? '' : '.'}${count}` : prefix] = child.digest;
  }
  return labels;
}

function childPrefix(mediaType: string): string {
  if (/\.(?:config|container\.image)\.v1\+json$/.test(mediaType))
    return 'containerd.io/gc.ref.content.config';
  if (isManifestType(mediaType) || isIndexType(mediaType)) return 'containerd.io/gc.ref.content.m.';
  return layerCompression(mediaType) === undefined
    ? 'containerd.io/gc.ref.content.'
    : 'containerd.io/gc.ref.content.l.';
}

function sourceLabels(source: RegisteredImage['source']): Labels {
  const key = `containerd.io/distribution.source.${source.host}`;
  return source.host === '' ? {} : { [key]: source.repository };
}

async function ensureSnapshot(
  client: ContainerdClient,
  scope: Scope & { readonly lease: string },
  snapshotter: string,
  parent: ChainId | undefined,
  chainId: ChainId,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; attempt < PREPARE_ATTEMPTS; attempt++) {
    if (await client.hasSnapshot(scope, snapshotter, chainId, signal)) {
      const resource = { id: chainId, type: `snapshots/${snapshotter}` };
      await client.addToLease(scope.namespace, scope.lease, resource, signal);
      if (await client.hasSnapshot(scope, snapshotter, chainId, signal)) return;
    }
    const key = `starlight-${randomUUID()} ${chainId}`;
    const outcome = await client.prepareRemote(scope, snapshotter, key, parent, chainId, signal);
    if (outcome === 'local') {
      await client.removeSnapshot(scope, snapshotter, key, signal);
      throw new ContainerdError(
        'snapshotter',
        `the snapshotter ${snapshotter} did not take ${chainId} as a remote layer: is it this worker's?`,
      );
    }
  }
  if (!(await client.hasSnapshot(scope, snapshotter, chainId, signal))) {
    throw new ContainerdError('snapshotter', `the snapshot ${chainId} vanishes as soon as it is made`);
  }
}
