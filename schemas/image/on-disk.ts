import { errorCode } from '../process/system-error.ts';
import { ImageError } from './image-error.ts';

const DISK_CODES: ReadonlySet<string> = new Set([
  'EACCES',
  'EDQUOT',
  'EIO',
  'EISDIR',
  'ENOENT',
  'ENOSPC',
  'ENOTDIR',
  'EPERM',
  'EROFS',
]);

/**
 * Does `work`, which writes below `directory`.
 * @throws {ImageError} `disk`, naming the directory, where the system does not let it; else what `work` throws.
 */
export async function onDisk<T>(directory: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof Error) || !DISK_CODES.has(errorCode(cause) ?? '')) throw cause;
    throw new ImageError({ kind: 'disk', directory }, `cannot write to ${directory}: ${cause.message}`, {
      cause,
    });
  }
}
