import { constants, type Dirent } from 'node:fs';
import { type FileHandle, open, opendir } from 'node:fs/promises';

const ENTRIES_PER_READ = 256;

/**
 * Opens a directory, never through a symbolic link in the last component. Entries are then reached through
 * `entryPath(handle, name)`, as with openat(2): the tree may belong to a container that still runs, and a
 * directory that it swaps for a link must not lead out of the tree; nor does the depth of the tree matter for
 * the length of paths.
 *
 * @throws {NodeJS.ErrnoException} ENOENT, ENOTDIR, ELOOP, …
 */
export function openDirectory(path: string | Buffer): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

/** The path of an entry, whose name need not be UTF-8; valid while `directory` is open. */
export function entryPath(directory: FileHandle, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(pathOf(directory)), name]);
}

/** The entries of an open directory, read in portions, in the order of the file system. */
export async function* readEntries(directory: FileHandle): AsyncGenerator<Dirent<Buffer>, void, undefined> {
  // 'buffer' is a valid encoding, which the types of opendir do not know
  const encoding = 'buffer' as BufferEncoding;
  const entries = await opendir(pathOf(directory), { encoding, bufferSize: ENTRIES_PER_READ });
  for await (const entry of entries) yield entry as unknown as Dirent<Buffer>;
}

function pathOf(directory: FileHandle): string {
  return `/proc/self/fd/${directory.fd}/`;
}
