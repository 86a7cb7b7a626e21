import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { digestHex } from '../../schemas/oci/digest.ts';
import { type MadeImage, makeImage, type MakeOptions } from '../extensions/starlight/made-image.ts';
import { directory, file, symlink, type TarEntry } from './tar.ts';

/**
 * Writes a converted image under a tag into an OCI image layout of its own at `path`, without the converter:
 * for tests of what comes after it.
 */
export async function convertedLayout(
  path: string,
  tag: string,
  layers: readonly (readonly TarEntry[])[],
  options: MakeOptions = {},
): Promise<MadeImage> {
  const image = await makeImage(layers, options);
  mkdirSync(join(path, 'blobs/sha256'), { recursive: true });
  writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  for (const { digest, bytes } of [image.manifest, ...image.blobs]) {
    writeFileSync(join(path, 'blobs/sha256', digestHex(digest)), bytes);
  }
  const { mediaType, digest, bytes } = image.manifest;
  const annotations = { [ANNOTATION.refName]: tag };
  const manifests = [{ mediaType, digest, size: bytes.length, annotations }];
  writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  return image;
}

/** A layer with the machine's own dash as /bin/sh, and what it needs. */
export function shellLayer(): TarEntry[] {
  const libc = '/lib/x86_64-linux-gnu/libc.so.6';
  const loader = '/lib64/ld-linux-x86-64.so.2';
  const program = (name: string, from: string) => file(name, readFileSync(from), { mode: 0o755 });
  return [
    directory('bin'),
    directory('lib'),
    directory('lib/x86_64-linux-gnu'),
    directory('lib64'),
    directory('tmp', { mode: 0o1777 }),
    program('bin/dash', '/bin/dash'),
    program('bin/cat', '/bin/cat'),
    symlink('bin/sh', 'dash'),
    program(libc.slice(1), libc),
    program(loader.slice(1), loader),
  ];
}
