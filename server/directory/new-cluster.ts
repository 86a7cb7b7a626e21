import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { dataDir } from '@electric-sql/pglite-prepopulatedfs';
import { extract } from 'tar-stream';
import { isMissing } from '../../schemas/process/system-error.ts';

/** Of a cluster that runs: PostgreSQL writes it anew. */
const PID_FILE = '/postmaster.pid';

/** The archive of an empty cluster that comes with PGlite's package, as it takes it for a database in memory. */
export const emptyCluster: () => Promise<Blob> = dataDir;

/**
 * Puts the files of an empty cluster where nothing is yet, whole or not at all: the database opens as one that was there
 * before. PGlite's own way, initdb in this process, takes some seconds of processor and 400 MB that are never given back.
 *
 * The caller has the directory to itself.
 *
 * @returns false where there is something in `path` already; it is left as it is.
 */
export async function makeCluster(path: string): Promise<boolean> {
  const there = await readdir(path).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  if (there.length > 0) return false;
  const partial = `${path}.partial`;
  await rm(partial, { recursive: true, force: true });
  await unpack(await emptyCluster(), partial);
  await rename(partial, path);
  return true;
}

async function unpack(archive: Blob, directory: string): Promise<void> {
  await mkdir(directory, { mode: 0o700 });
  const entries = extract();
  const feeding = pipeline(Readable.fromWeb(archive.stream()), createGunzip(), entries);
  for await (const entry of entries) {
    const { name, type } = entry.header;
    if (type === 'directory') await mkdir(join(directory, name), { recursive: true, mode: 0o700 });
    if (type !== 'file' || name === PID_FILE) entry.resume();
    else await pipeline(entry, createWriteStream(join(directory, name), { mode: 0o600 }));
  }
  await feeding;
}
