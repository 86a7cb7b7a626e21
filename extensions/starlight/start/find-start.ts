import { imageProcess } from '../image-command.ts';
import { encodeStartOrder, startOrder } from '../optimizer/start-order.ts';
import type { CallerRepository } from '../resolve.ts';
import { FileReader, type ReadableImage } from './file-reader.ts';
import { START_LIMIT } from './limits.ts';
import { startFiles } from './start-files.ts';

/**
 * Finds out what an image opens first by reading its command and what that needs, with the caller's rights; as
 * encodeStartOrder() writes it. Undefined where the config names no command that is in the image.
 *
 * @param config the bytes of the image's config
 * @throws {RegistryReadError} or the reason of `signal`, or a TimeoutError after `START_LIMIT.timeMs`
 */
export async function findStart(
  repository: CallerRepository,
  image: ReadableImage,
  config: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  // Whatever is still being read when this ends is let go of.
  const ended = new AbortController();
  const together = AbortSignal.any([signal, AbortSignal.timeout(START_LIMIT.timeMs), ended.signal]);
  try {
    const reader = new FileReader(repository, image, together);
    const inodes = await startFiles(image, imageProcess(config), reader);
    return inodes.length === 0 ? undefined : encodeStartOrder(startOrder(image.tree, inodes));
  } finally {
    ended.abort();
  }
}
