import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { chainIds } from '../../schemas/oci/chain-id.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { formatPlatform, platformMatches } from '../../schemas/oci/platform.ts';
import {
  DocumentError,
  type ImageConfig,
  type Manifest,
  type Platform,
  parseImageConfig,
  parseIndex,
  parseManifest,
} from '../../schemas/oci/types.ts';
import { TocError } from '../../schemas/toc/error.ts';
import { decodeImageToc, tocDigestOf } from '../../schemas/toc/image-toc.ts';
import type { LayerToc } from '../../schemas/toc/layer-toc.ts';
import type { Blob } from '../containerd/register-image.ts';
import type { Image, ImageLayer } from '../images/image.ts';
import { ImageTables } from '../images/trees.ts';
import { DownloadError } from './download-error.ts';

/** What a bundle's header says about an image. None of it is believed. */
export type ImageClaim = {
  readonly name: string;
  readonly manifestDigest: Digest;
  readonly indexDigest?: Digest | undefined;
  readonly tocDigest: Digest;
  readonly blobs: readonly Blob[];
  /** The table of contents, uncompressed. */
  readonly tocBytes: Uint8Array;
};

/** What was asked for. */
export type ImageWish = {
  readonly host: string;
  readonly repository: string;
  /** Of the manifest or of the index, where the reference names one. */
  readonly digest: Digest | undefined;
  readonly platform: Platform;
};

export type TrustPolicy = { readonly unboundToc: 'refuse' | 'accept' };

/** An image of which every document is what its digest says, down from what was asked for. */
export type VerifiedImage = {
  readonly image: Image;
  readonly index: Blob | undefined;
  readonly manifest: Blob;
  readonly config: Blob;
  readonly tocBytes: Uint8Array;
  readonly tables: ImageTables;
};

/**
 * Follows the chain of trust: reference → index → manifest → config and table of contents (by the manifest's
 * annotation) → diffIDs. What is left to verify are the contents, by the digests in the table.
 *
 * @throws {DownloadError} `untrusted` when something is not what it should be, `platform-unknown` when the image
 * is for another platform.
 */
export function verifyImage(claim: ImageClaim, wish: ImageWish, trust: TrustPolicy): VerifiedImage {
  try {
    return verify(claim, wish, trust);
  } catch (cause) {
    if (cause instanceof DocumentError || cause instanceof TocError) {
      throw new DownloadError('untrusted', `${wish.repository}: ${cause.message}`, { cause });
    }
    throw cause;
  }
}

function verify(claim: ImageClaim, wish: ImageWish, trust: TrustPolicy): VerifiedImage {
  if (claim.name !== wish.repository) {
    throw untrusted(wish, `the bundle is of ${JSON.stringify(claim.name.slice(0, 300))}`);
  }
  if (
    wish.digest !== undefined &&
    wish.digest !== claim.manifestDigest &&
    wish.digest !== claim.indexDigest
  ) {
    throw untrusted(wish, `the bundle is of ${claim.manifestDigest}, not of ${wish.digest}`);
  }
  const index = claim.indexDigest === undefined ? undefined : blobOf(claim, claim.indexDigest, wish);
  if (index !== undefined) checkIndex(index, claim.manifestDigest, wish);
  const manifestBlob = blobOf(claim, claim.manifestDigest, wish);
  const manifest = parseManifest(manifestBlob.bytes);
  const configBlob = blobOf(claim, manifest.config.digest, wish);
  const config = parseImageConfig(configBlob.bytes);
  checkPlatform(config, wish);
  checkTocDigest(claim, manifest, wish, trust);
  const layers = decodeImageToc(claim.tocBytes);
  const image: Image = {
    manifestDigest: claim.manifestDigest,
    ...(claim.indexDigest === undefined ? {} : { indexDigest: claim.indexDigest }),
    configDigest: manifest.config.digest,
    tocDigest: claim.tocDigest,
    host: wish.host,
    repository: wish.repository,
    platform: formatPlatform(wish.platform),
    layers: layersOf(manifest, config, layers, wish),
  };
  return {
    image,
    index: index === undefined ? undefined : { ...index, mediaType: mediaTypeOf(index) },
    manifest: { ...manifestBlob, mediaType: manifest.mediaType ?? manifestBlob.mediaType },
    config: { ...configBlob, mediaType: manifest.config.mediaType },
    tocBytes: claim.tocBytes,
    tables: new ImageTables(layers),
  };
}

function untrusted(wish: ImageWish, message: string): DownloadError {
  return new DownloadError('untrusted', `${wish.repository}: ${message}`);
}

function blobOf(claim: ImageClaim, digest: Digest, wish: ImageWish): Blob {
  const blob = claim.blobs.find((one) => one.digest === digest);
  if (blob === undefined) throw untrusted(wish, `the bundle lacks ${digest}`);
  if (digestOf(blob.bytes, digest.startsWith('sha512') ? 'sha512' : 'sha256') !== digest) {
    throw untrusted(wish, `what the bundle gives for ${digest} is something else`);
  }
  return blob;
}

/** The document's own word on its type, as its bytes were verified; else what it was served as. */
function mediaTypeOf(index: Blob): string {
  return parseIndex(index.bytes).mediaType ?? index.mediaType;
}

function checkIndex(index: Blob, manifestDigest: Digest, wish: ImageWish): void {
  const entry = parseIndex(index.bytes).manifests.find((one) => one.digest === manifestDigest);
  if (entry === undefined) throw untrusted(wish, `the index ${index.digest} does not list ${manifestDigest}`);
  if (entry.platform !== undefined && !platformMatches(wish.platform, entry.platform)) {
    throw wrongPlatform(entry.platform, wish);
  }
}

function checkPlatform(config: ImageConfig, wish: ImageWish): void {
  if (config.os === undefined || config.architecture === undefined) return;
  const variant = config.variant === undefined ? {} : { variant: config.variant };
  const offered: Platform = { os: config.os, architecture: config.architecture, ...variant };
  if (!platformMatches(wish.platform, offered)) throw wrongPlatform(offered, wish);
}

function wrongPlatform(offered: Platform, wish: ImageWish): DownloadError {
  const wanted = formatPlatform(wish.platform);
  const message = `the image is for ${formatPlatform(offered)}, not for ${wanted}`;
  return new DownloadError('platform-unknown', `${wish.repository}: ${message}`);
}

function checkTocDigest(claim: ImageClaim, manifest: Manifest, wish: ImageWish, trust: TrustPolicy): void {
  if (tocDigestOf(claim.tocBytes) !== claim.tocDigest) {
    throw untrusted(wish, `the table of contents is not ${claim.tocDigest}`);
  }
  const bound = manifest.annotations?.[ANNOTATION.tocDigest];
  if (bound === undefined) {
    if (trust.unboundToc === 'accept') return;
    const reason = 'its manifest does not name the digest of its table of contents';
    throw untrusted(
      wish,
      `${reason}, so that nothing vouches for it (trust.unboundToc accepts it none the less)`,
    );
  }
  if (bound !== claim.tocDigest) {
    throw untrusted(wish, `the table of contents is ${claim.tocDigest}; the manifest names ${bound}`);
  }
}

function layersOf(
  manifest: Manifest,
  config: ImageConfig,
  tables: readonly LayerToc[],
  wish: ImageWish,
): ImageLayer[] {
  const diffIds = config.rootfs.diff_ids;
  if (manifest.layers.length !== diffIds.length || tables.length !== diffIds.length) {
    const counts = `${manifest.layers.length}, ${diffIds.length} and ${tables.length}`;
    throw untrusted(wish, `manifest, config and table of contents have ${counts} layers`);
  }
  const chain = chainIds(diffIds);
  return manifest.layers.map((descriptor, row) => {
    const [table, diffId, chainId] = [tables[row], diffIds[row], chain[row]];
    if (table === undefined || diffId === undefined || chainId === undefined || table.diffId !== diffId) {
      throw untrusted(wish, `layer ${row} of the table of contents is not the config's ${diffId}`);
    }
    return {
      digest: descriptor.digest,
      sizeBytes: descriptor.size,
      diffId,
      chainId,
      contentBytes: table.contents.sizeBytes.reduce((sum, sizeBytes) => sum + sizeBytes, 0),
      entries: table.rowCount,
    };
  });
}
