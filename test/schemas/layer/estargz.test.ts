import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';
import {
  ESTARGZ_FOOTER_BYTES,
  estargzFooter,
  parseEstargzFooter,
} from '../../../schemas/layer/estargz-footer.ts';
import { writeEstargzLayer } from '../../../schemas/layer/estargz-layer.ts';
import type { EstargzEntry } from '../../../schemas/layer/estargz-toc.ts';
import { gzipMember } from '../../../schemas/layer/gzip-writer.ts';
import { LayerError } from '../../../schemas/layer/layer-error.ts';
import { scanLayer } from '../../../schemas/layer/scan-layer.ts';
import { blockPadding, plainFileHeader } from '../../../schemas/layer/tar-writer.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { device, directory, fifo, file, hardlink, symlink, tarBytes, whiteout } from '../../support/tar.ts';

const signal = new AbortController().signal;
const LARGE = Buffer.alloc(9_000_000, 'eStargz cuts this in chunks of 4 MiB. ');
const ENTRIES = [
  directory('etc'),
  file('etc/motd', 'hello\n', { mode: 0o4755, uid: 70_000, mtimeSeconds: 1_000.7 }),
  file('etc/empty'),
  file('large', LARGE, { xattrs: { 'user.a': 'b', 'trusted.x': 'y' } }),
  file('twin', 'hello\n'),
  symlink('link', '../etc'),
  hardlink('hard', 'etc/motd'),
  device('null', 'character', 1, 3),
  fifo('pipe'),
  whiteout('gone'),
];

type Entries = { -readonly [K in keyof EstargzEntry]: EstargzEntry[K] }[];

function tocOffsetOf(blob: Buffer): number {
  const extra = blob.subarray(-ESTARGZ_FOOTER_BYTES).subarray(12, 38);
  return parseEstargzFooter(extra) ?? assert.fail('no footer');
}

/** The layer with another table of contents, everything else as an attacker would have it. */
async function withToc(blob: Buffer, change: (entries: Entries) => unknown): Promise<Buffer> {
  const offset = tocOffsetOf(blob);
  const tar = gunzipSync(blob.subarray(offset, -ESTARGZ_FOOTER_BYTES));
  const size = Number.parseInt(tar.toString('latin1', 124, 135), 8);
  const toc = JSON.parse(tar.toString('utf8', 512, 512 + size)) as { version: number; entries: Entries };
  const entries = change(toc.entries) ?? toc.entries;
  const bytes = Buffer.from(JSON.stringify({ ...toc, entries }));
  const member = await gzipMember(
    Buffer.concat([
      plainFileHeader('stargz.index.json', bytes.length),
      bytes,
      blockPadding(bytes.length),
      Buffer.alloc(1024),
    ]),
  );
  return Buffer.concat([blob.subarray(0, offset), member, estargzFooter(offset)]);
}

function find(entries: Entries, name: string): Entries[number] {
  return entries.find((one) => one.name === name) ?? assert.fail(name);
}

describe('writeEstargzLayer()', () => {
  let blob: Buffer;
  before(async () => {
    blob = Buffer.concat(await Array.fromAsync(writeEstargzLayer([tarBytes(ENTRIES)], signal)));
  });

  it('gives a layer whose table of contents and tar agree', async () => {
    const layer = await scanLayer([blob], signal);
    assert.ok(layer.estargz);
    assert.equal(layer.seekable, true);
    const paths = Array.from({ length: layer.toc.rowCount }, (_, row) =>
      Buffer.from(layer.toc.pathAt(row)).toString(),
    );
    assert.deepEqual(paths, [
      'etc',
      'etc/motd',
      'etc/empty',
      'large',
      'twin',
      'link',
      'hard',
      'null',
      'pipe',
      'gone',
    ]);
    assert.equal(layer.diffId, digestOf(gunzipSync(blob)));
  });

  it('is reproducible', async () => {
    const again = Buffer.concat(await Array.fromAsync(writeEstargzLayer([tarBytes(ENTRIES)], signal)));
    assert.ok(again.equals(blob));
  });

  it('refuses what eStargz keeps for itself or cannot say', async () => {
    for (const entry of [
      file('stargz.index.json', 'x'),
      file('.prefetch.landmark', 'x'),
      file(Buffer.from([0xff]), 'x'),
    ]) {
      await assert.rejects(Array.fromAsync(writeEstargzLayer([tarBytes([entry])], signal)), {
        name: 'LayerError',
        kind: 'unsupported',
      });
    }
  });

  it('sees an ordinary file in a table of contents without a footer', async () => {
    const layer = await scanLayer([blob.subarray(0, -ESTARGZ_FOOTER_BYTES)], signal);
    assert.equal(layer.estargz, undefined);
    assert.equal(layer.toc.rowCount, ENTRIES.length + 2);
  });

  const attacks: readonly (readonly [string, (entries: Entries) => unknown])[] = [
    ['an entry that the tar does not have', (all) => all.push({ name: 'more', type: 'reg' })],
    ['an entry missing', (all) => all.filter((one) => one.name !== 'pipe')],
    ['entries in another order', (all) => all.reverse()],
    ['another name', (all) => Object.assign(find(all, 'twin'), { name: 'twim' })],
    ['another type', (all) => Object.assign(find(all, 'pipe'), { type: 'reg' })],
    ['another mode', (all) => Object.assign(find(all, 'etc/motd'), { mode: 0o755 })],
    ['another owner', (all) => Object.assign(find(all, 'etc/motd'), { uid: 0 })],
    ['another time', (all) => Object.assign(find(all, 'etc/motd'), { modtime: '2020-01-01T00:00:00Z' })],
    ['a time that is none', (all) => Object.assign(find(all, 'etc/motd'), { modtime: 'now' })],
    ['another size', (all) => Object.assign(find(all, 'etc/motd'), { size: 5 })],
    ['a size for an empty file', (all) => Object.assign(find(all, 'etc/empty'), { size: 5 })],
    ['another digest', (all) => Object.assign(find(all, 'etc/motd'), { digest: digestOf('other') })],
    ['no digest', (all) => delete find(all, 'etc/motd').digest],
    ['another link target', (all) => Object.assign(find(all, 'link'), { linkName: '../lib' })],
    ['another hard link', (all) => Object.assign(find(all, 'hard'), { linkName: 'twin' })],
    ['another device', (all) => Object.assign(find(all, 'null'), { devMinor: 5 })],
    ['other attributes', (all) => Object.assign(find(all, 'large'), { xattrs: { 'user.a': 'eA==' } })],
    ['no attributes', (all) => delete find(all, 'large').xattrs],
    [
      'the offset of another file',
      (all) => Object.assign(find(all, 'etc/motd'), { offset: find(all, 'large').offset }),
    ],
    [
      'an offset within a member',
      (all) => Object.assign(find(all, 'large'), { offset: (find(all, 'large').offset ?? 0) + 1 }),
    ],
    ['another inner offset', (all) => Object.assign(find(all, 'large'), { innerOffset: 1 })],
    ['a chunk missing', (all) => all.filter((one) => one.type !== 'chunk' || one.chunkOffset !== 4_194_304)],
    ['all further chunks missing', (all) => all.filter((one) => one.type !== 'chunk')],
    [
      'a chunk of another file',
      (all) => Object.assign(all.find((one) => one.type === 'chunk') ?? {}, { name: 'twin' }),
    ],
    ['a chunk that is too long', (all) => Object.assign(find(all, 'large'), { chunkSize: 99_000_000 })],
    ['a path that leads out', (all) => Object.assign(find(all, 'twin'), { name: '../twin' })],
  ];
  for (const [name, change] of attacks) {
    it(`a table of contents with ${name} is refused`, async () => {
      const attack = await withToc(blob, (entries) => {
        const result = change(entries);
        return Array.isArray(result) ? result : undefined;
      });
      await assert.rejects(scanLayer([attack], signal), (error) => {
        assert.ok(error instanceof LayerError, String(error));
        assert.ok(error.kind === 'toc-mismatch' || error.kind === 'path', error.kind);
        return true;
      });
    });
  }

  it('an unchanged table of contents, written anew, is accepted', async () => {
    const layer = await scanLayer([await withToc(blob, () => undefined)], signal);
    assert.ok(layer.estargz);
  });

  for (const [name, offset] of [
    ['nowhere', 5],
    ['at a member that is no table of contents', 0],
  ] as const) {
    it(`a footer that points ${name} is refused`, async () => {
      const attack = Buffer.concat([blob.subarray(0, -ESTARGZ_FOOTER_BYTES), estargzFooter(offset)]);
      await assert.rejects(scanLayer([attack], signal), { name: 'LayerError', kind: 'toc-mismatch' });
    });
  }
});

describe('parseEstargzFooter()', () => {
  const digits = '00000000000004d2STARGZ';
  const rows: readonly (readonly [string, Buffer, number | undefined])[] = [
    ['the current form', Buffer.from(`SG\x16\0${digits}`, 'latin1'), 1_234],
    ['the older form', Buffer.from(digits), 1_234],
    ['another magic', Buffer.from('00000000000004d2STARGY'), undefined],
    ['digits that are none', Buffer.from('0000000000000xyzSTARGZ'), undefined],
    ['another length', Buffer.from(`SG\x17\0${digits}`, 'latin1'), undefined],
    ['an offset beyond all bounds', Buffer.from('ffffffffffffffffSTARGZ'), undefined],
    ['nothing', Buffer.alloc(0), undefined],
  ];
  for (const [name, extra, expected] of rows) {
    it(name, () => assert.equal(parseEstargzFooter(extra), expected));
  }
});
