import { BundleError } from '../../schemas/bundle/error.ts';
import { decodeFrame, FRAME_BYTES } from '../../schemas/bundle/frame.ts';
import type { BundleHeader } from '../../schemas/bundle/header.ts';
import { decodeBundleHeader } from '../../schemas/bundle/header-codec.ts';
import { unpackToc } from '../../schemas/bundle/toc-packing.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { BundleChangedError, type BundleFeed } from './bundle-feed.ts';
import { DownloadError } from './download-error.ts';
import { type ImageWish, type TrustPolicy, type VerifiedImage, verifyImage } from './verify-image.ts';

/** A bundle of which the header is in and the image verified; the feed stands at the first payload. */
export type OpenedBundle = {
  readonly header: BundleHeader;
  readonly verified: VerifiedImage;
  /** Where the payloads begin. */
  readonly start: number;
};

/** Gives the table of contents of an image at hand, against which another may be packed. */
export type Dictionaries = (tocDigest: Digest) => Promise<Uint8Array | undefined>;

/**
 * Reads the header of a bundle for one image, and verifies the image. Begins again when the bundle has become
 * another one before all of its header was in.
 * @throws {DownloadError} `malformed`, `unavailable` when it is another one each time, and those of {@link verifyImage}.
 */
export async function openBundle(
  feed: BundleFeed,
  wish: ImageWish,
  trust: TrustPolicy,
  dictionaries: Dictionaries,
): Promise<OpenedBundle> {
  for (;;) {
    try {
      return await readOpening(feed, wish, trust, dictionaries);
    } catch (error) {
      if (!(error instanceof BundleChangedError)) throw error; // the feed counts these and ends it
      feed.restart();
    }
  }
}

async function readOpening(
  feed: BundleFeed,
  wish: ImageWish,
  trust: TrustPolicy,
  dictionaries: Dictionaries,
): Promise<OpenedBundle> {
  try {
    const frame = decodeFrame(await feed.source.read(FRAME_BYTES));
    const header = decodeBundleHeader(frame, await feed.source.read(frame.headerLength));
    const [image] = header.images;
    const [toc] = header.tocs;
    if (image === undefined || toc === undefined || header.images.length !== 1) {
      throw new DownloadError('malformed', `the bundle brings ${header.images.length} images instead of one`);
    }
    const dictionary = toc.dictionary === undefined ? undefined : await dictionaries(toc.dictionary);
    const claim = { ...image, blobs: header.blobs, tocBytes: unpackToc(toc, () => dictionary) };
    return {
      header,
      verified: verifyImage(claim, wish, trust),
      start: FRAME_BYTES + frame.headerLength,
    };
  } catch (cause) {
    if (!(cause instanceof BundleError)) throw cause;
    const kind = cause.kind === 'digest-mismatch' ? 'untrusted' : 'malformed';
    throw new DownloadError(kind, `${wish.repository}: the proxy's bundle: ${cause.message}`, { cause });
  }
}
