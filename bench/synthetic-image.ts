import { createHash } from 'node:crypto';
import { type Digest, digestOf } from '../schemas/oci/digest.ts';
import { LayerTocBuilder, type TocEntry } from '../schemas/toc/builder.ts';
import { KIND } from '../schemas/toc/kind.ts';
import type { LayerToc } from '../schemas/toc/layer-toc.ts';

/** The tree of the measurements in the design: as many files, in as many directories. */
export const FILES = 84_000;
export const DIRECTORIES = 9_457;
/** Layers, lowest first, by their share of the directories: a base, packages, an application. */
const LAYER_SHARES = [0.25, 0.6, 0.15] as const;
/** Of a hundred files, how many have other contents in the second version, and how many are new. */
const CHANGED_PERCENT = 8;
const NEW_PERCENT = 1;
const EPOCH_SEC = 1_690_000_000;

/**
 * A made-up image of 84,000 files in 9,457 directories over three layers, and a second version of it: with
 * names, sizes, times and depths like those of Debian packages, digests and sizes without pattern. The same on every run.
 */
export function syntheticImage(version: 1 | 2): LayerToc[] {
  const paths = directories();
  let from = 0;
  return LAYER_SHARES.map((share, number) => {
    const to = number === LAYER_SHARES.length - 1 ? paths.length : from + Math.round(paths.length * share);
    const layer = layerOf(paths.slice(from, to), from, version);
    from = to;
    return layer;
  });
}

/** A whole number below `limit`, the same for the same things. */
function pick(limit: number, ...of: readonly (string | number)[]): number {
  return createHash('sha256').update(of.join()).digest().readUInt32LE() % limit;
}

/** Depth first, as tar lists them: each directory after the one that holds it. */
function directories(): string[] {
  const paths: string[] = ['usr', 'etc', 'var', 'opt'];
  for (let i = paths.length; i < DIRECTORIES; i += 1) {
    const above = paths[pick(Math.min(i, 1200), 'above', i)] ?? 'usr';
    paths.push(`${above}/${WORDS[pick(WORDS.length, 'word', i)]}-${i.toString(36)}`);
  }
  return paths.sort();
}

const WORDS = [
  'lib',
  'python3',
  'share',
  'modules',
  'include',
  'node',
  'locale',
  'doc',
  'data',
  'plugins',
  'test',
];
const ENDINGS = ['.py', '.so', '.js', '.h', '.mo', '.gz', '', '.json', '.txt', '.pyc'];

function layerOf(paths: readonly string[], first: number, version: 1 | 2): LayerToc {
  const builder = new LayerTocBuilder();
  let offset = 300;
  let payload = 0;
  for (const [i, path] of paths.entries()) {
    const number = first + i;
    const mtimeSec = EPOCH_SEC + pick(400, 'time', number >> 5) * 86_400;
    builder.add({ kind: KIND.directory, path: Buffer.from(path), mode: 0o755, mtimeSec });
    const count =
      Math.floor(((number + 1) * FILES) / DIRECTORIES) - Math.floor((number * FILES) / DIRECTORIES);
    for (let k = 0; k < count; k += 1) {
      const file = `${number}/${k}`;
      const fate = version === 1 ? 100 : pick(100, 'fate', file);
      const ending = ENDINGS[pick(ENDINGS.length, 'ending', file)] ?? '';
      const name =
        fate < NEW_PERCENT ? `new-${k}${ending}` : `${WORDS[(number + k) % WORDS.length]}_${k}${ending}`;
      const changed = fate < NEW_PERCENT + CHANGED_PERCENT;
      const key = changed ? `${file} of version ${version}` : file;
      const sizeBytes = 1 + pick(2 ** (4 + pick(15, 'magnitude', file)), 'size', key);
      const length = 18 + Math.ceil(sizeBytes * (0.2 + pick(50, 'packed', key) / 100));
      const digest = createHash('sha256').update(key).digest();
      builder.addPayload(offset, length);
      offset += length + 90 + pick(40, 'gap', file);
      const entry: TocEntry = {
        kind: KIND.file,
        path: Buffer.from(`${path}/${name}`),
        mode: ending === '' ? 0o755 : 0o644,
        mtimeSec: changed ? mtimeSec + 86_400 * 30 * version : mtimeSec,
        content: builder.addContent({ digest, sizeBytes, payload, innerOffset: 0 }),
      };
      payload += 1;
      builder.add(entry);
    }
  }
  return builder.finish(digestOf(`layer ${first} of version ${version}`) as Digest);
}
