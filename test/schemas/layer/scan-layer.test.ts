import assert from 'node:assert/strict';
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { LayerFault } from '../../../schemas/layer/layer-error.ts';
import { LayerError } from '../../../schemas/layer/layer-error.ts';
import { type ScannedLayer, scanLayer } from '../../../schemas/layer/scan-layer.ts';
import { writeSeekableLayer } from '../../../schemas/layer/seekable-layer.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { encodeLayerToc } from '../../../schemas/toc/layer-codec.ts';
import { KIND, NONE } from '../../../schemas/toc/kind.ts';
import { randomly } from '../../support/randomly.ts';
import {
  device,
  directory,
  fifo,
  file,
  hardlink,
  opaque,
  symlink,
  type TarEntry,
  tarBytes,
  whiteout,
} from '../../support/tar.ts';

const signal = new AbortController().signal;

/** The same for the same seed. */
const noise = (sizeBytes: number, seed = 1): Buffer => randomly(seed).noise(sizeBytes);

function* pieces(bytes: Uint8Array, sizeBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

async function seekable(tar: Uint8Array, pieceBytes = 10_000): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(writeSeekableLayer(pieces(tar, pieceBytes), signal)));
}

function scan(blob: Uint8Array, pieceBytes = 10_000): Promise<ScannedLayer> {
  return scanLayer(pieces(blob, pieceBytes), signal);
}

/** Every content of the layer, read back through its payload alone. */
function readBack(layer: ScannedLayer, blob: Buffer): Map<string, Buffer> {
  const { toc } = layer;
  const contents = new Map<string, Buffer>();
  for (let row = 0; row < toc.rowCount; row += 1) {
    const content = toc.content[row] ?? NONE;
    if (content === NONE) continue;
    const payload = toc.contents.payload[content] ?? 0;
    const offset = toc.payloads.offset[payload] ?? 0;
    const range = blob.subarray(offset, offset + (toc.payloads.length[payload] ?? 0));
    const inner = toc.contents.innerOffset[content] ?? 0;
    const bytes = gunzipSync(range).subarray(inner, inner + (toc.contents.sizeBytes[content] ?? 0));
    assert.equal(digestOf(bytes), toc.digestOfContent(content));
    contents.set(Buffer.from(toc.pathAt(row)).toString('latin1'), bytes);
  }
  return contents;
}

const LONG = `${'d/'.repeat(120)}${'n'.repeat(200)}`;
const ENTRIES: readonly TarEntry[] = [
  directory('.'),
  directory('etc'),
  file('etc/motd', 'hello\n', { mode: 0o4755, uid: 70_000, gid: 3_000_000_000 }),
  file('etc/empty'),
  file('etc/capable', 'x', { xattrs: { 'security.capability': Buffer.from([1, 0, 255]), 'user.a': 'b' } }),
  file('etc/forged', 'y', { xattrs: { 'trusted.overlay.opaque': 'y' } }),
  file('big', noise(5_000_000, 3)),
  file('middle', noise(200_000, 4)),
  file('middle-again', noise(200_000, 4)),
  file('time', 'z', { mtimeSeconds: 1_234_567_890.5 }),
  file('before', 'z', { mtimeSeconds: -5 }),
  file(Buffer.from([0x66, 0xff, 0xfe]), 'not UTF-8'),
  file(LONG, 'long'),
  file(`gnu${LONG}`, 'gnu', { format: 'gnu' }),
  symlink('link', '../../anything'),
  symlink('linkattr', 'x', { xattrs: { 'user.ignored': '1' } }),
  hardlink('hard', './etc/motd'),
  device('null', 'character', 1, 3),
  device('sda', 'block', 8, 300),
  fifo('pipe'),
  file('sparse', '', {
    sparse: {
      form: 'pax',
      sizeBytes: 10_000_000,
      segments: [
        { offset: 4_096, data: noise(150_000, 7) },
        { offset: 9_000_000, data: Buffer.from('island') },
      ],
    },
  }),
  file('hole', '', { sparse: { form: 'pax', sizeBytes: 5_000_000, segments: [] } }),
  file('hole0', '', {
    pax: {
      'GNU.sparse.map': '',
      'GNU.sparse.major': '0',
      'GNU.sparse.minor': '1',
      'GNU.sparse.realsize': '70000',
    },
  }),
  file('/absolute/./x//y/../z', 'abs'),
  whiteout('gone/away'),
  opaque('etc'),
  file('.wh..wh.plnk/12.34', 'aufs'),
];

const ENTRIES_ACROSS_MEMBERS = Array.from({ length: 60 }, (_, i) => file(`f${i}`, noise(i * 37 + 1, i + 1)));

describe('scanLayer()', () => {
  const tar = Buffer.concat([tarBytes(ENTRIES), Buffer.from('garbage behind the end of the archive')]);
  /** A sparse file's content is found in a layer of ours only. */
  const dense = tarBytes(ENTRIES.filter((entry) => !/^(?:sparse|hole)/.test(String(entry.name))));
  let blob: Buffer;
  let layer: ScannedLayer;
  before(async () => {
    blob = await seekable(tar);
    layer = await scan(blob);
  });

  it('finds the tar stream unchanged and describes the blob', () => {
    assert.equal(layer.diffId, digestOf(tar));
    assert.deepEqual(gunzipSync(blob), tar);
    assert.equal(layer.layerDigest, digestOf(blob));
    assert.equal(layer.sizeBytes, blob.length);
    assert.equal(layer.tarSizeBytes, tar.length);
    assert.equal(layer.seekable, true);
    assert.equal(layer.estargz, undefined);
  });

  it('gives payloads that hold the contents', () => {
    const contents = readBack(layer, blob);
    assert.equal(contents.get('etc/motd')?.toString(), 'hello\n');
    assert.deepEqual(contents.get('big'), noise(5_000_000, 3));
    assert.deepEqual(contents.get('middle-again'), noise(200_000, 4));
    assert.equal(contents.get('absolute/x/z')?.toString(), 'abs');
    assert.equal(contents.get(LONG)?.toString(), 'long');
    assert.equal(contents.get(`gnu${LONG}`)?.toString(), 'gnu');
    assert.equal(contents.get('f\xff\xfe')?.toString(), 'not UTF-8');
    assert.equal(contents.has('.wh..wh.plnk/12.34'), false);
    const sparse = Buffer.alloc(10_000_000);
    noise(150_000, 7).copy(sparse, 4_096);
    sparse.write('island', 9_000_000);
    assert.ok(contents.get('sparse')?.equals(sparse));
    assert.deepEqual(contents.get('hole'), Buffer.alloc(5_000_000));
    assert.deepEqual(contents.get('hole0'), Buffer.alloc(70_000));
  });

  const row = (path: string): number => {
    for (let at = 0; at < layer.toc.rowCount; at += 1) {
      if (Buffer.from(layer.toc.pathAt(at)).toString('latin1') === path) return at;
    }
    return assert.fail(`no row ${path}`);
  };

  for (const memberBytes of [21, 512, 700, 1000, 1553, 4096, 131_072]) {
    it(`gives payloads that hold the contents where members end every ${memberBytes} bytes, also inside of headers`, async () => {
      const tar = tarBytes([...ENTRIES_ACROSS_MEMBERS]);
      const blob = Buffer.concat([...pieces(tar, memberBytes)].map((piece) => gzipSync(piece)));
      const contents = readBack(await scan(blob), blob);
      for (const { name, content } of ENTRIES_ACROSS_MEMBERS) {
        assert.deepEqual(contents.get(String(name)), Buffer.from(content ?? ''), String(name));
      }
    });
  }

  it('gives a large content members of its own, and equal contents one payload', () => {
    const { toc } = layer;
    const content = toc.content[row('middle')] ?? NONE;
    assert.equal(toc.contents.innerOffset[content], 0);
    assert.equal(toc.content[row('middle-again')], content);
  });

  const fields: readonly (readonly [
    string,
    Partial<
      Record<'kind' | 'mode' | 'uid' | 'gid' | 'mtimeSec' | 'mtimeNsec' | 'devMajor' | 'devMinor', number>
    >,
  ])[] = [
    ['etc', { kind: KIND.directory, mode: 0o755 }],
    ['etc/motd', { kind: KIND.file, mode: 0o4755, uid: 70_000, gid: 3_000_000_000 }],
    ['time', { mtimeSec: 1_234_567_890, mtimeNsec: 500_000_000 }],
    ['before', { mtimeSec: 0, mtimeNsec: 0 }],
    ['link', { kind: KIND.symlink, mode: 0o777 }],
    ['hard', { kind: KIND.hardlink }],
    ['null', { kind: KIND.chardev, devMajor: 1, devMinor: 3 }],
    ['sda', { kind: KIND.blockdev, devMajor: 8, devMinor: 300 }],
    ['pipe', { kind: KIND.fifo }],
    ['gone/away', { kind: KIND.whiteout, mode: 0 }],
  ];
  for (const [path, expected] of fields) {
    it(`row ${path}`, () => {
      for (const [field, value] of Object.entries(expected)) {
        assert.equal(layer.toc[field as keyof typeof expected][row(path)], value, field);
      }
    });
  }

  it('keeps link targets, verbatim or as paths', () => {
    assert.equal(Buffer.from(layer.toc.linkAt(row('link'))).toString(), '../../anything');
    assert.equal(Buffer.from(layer.toc.linkAt(row('hard'))).toString(), 'etc/motd');
  });

  it('keeps the extended attributes that containerd sets, and no others', () => {
    const names = (path: string): string[] =>
      layer.toc
        .xattrsAt(row(path))
        .map(([name, value]) => `${Buffer.from(name)}=${Buffer.from(value).toString('hex')}`);
    assert.deepEqual(names('etc/capable'), ['security.capability=0100ff', 'user.a=62']);
    assert.deepEqual(names('etc/forged'), []);
    assert.deepEqual(names('linkattr'), []);
  });

  it('skips the root and what AUFS left behind', () => {
    assert.equal(layer.toc.rowCount, ENTRIES.length - 2);
  });

  it('is the same however the stream is cut', async () => {
    for (const pieceBytes of [1_000, 65_536, 10_000_000]) {
      assert.deepEqual(await seekable(tar, pieceBytes), blob);
      const again = await scan(blob, pieceBytes);
      assert.deepEqual(encodeLayerToc(again.toc), encodeLayerToc(layer.toc));
    }
  });

  for (const [name, compress, compression] of [
    ['gzip', (bytes: Buffer) => gzipSync(bytes, { level: 6 }), 'gzip'],
    ['zstd', (bytes: Buffer) => zstdCompressSync(bytes), 'zstd'],
    ['no compression', (bytes: Buffer) => bytes, 'none'],
  ] as const) {
    it(`reads a layer in one piece with ${name}: not seekable, rows the same`, async () => {
      const other = await scan(compress(dense));
      assert.equal(other.compression, compression);
      assert.equal(other.seekable, false);
      const ours = await scan(await seekable(dense));
      assert.equal(other.diffId, ours.diffId);
      assert.deepEqual(other.toc.path, ours.toc.path);
      assert.deepEqual(other.toc.contents.digest, ours.toc.contents.digest);
    });
  }

  const plain = tarBytes([file('a', 'hello'), file('b', noise(100_000))]);
  const zipped = gzipSync(plain);
  const zstd = zstdCompressSync(plain);
  const flip = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 0xff;
    return copy;
  };
  const bad: readonly (readonly [string, Buffer, LayerFault])[] = [
    ['gzip cut off in the header', zipped.subarray(0, 6), 'corrupt'],
    ['gzip cut off in the data', zipped.subarray(0, 50_000), 'corrupt'],
    ['gzip cut off in the trailer', zipped.subarray(0, -3), 'corrupt'],
    ['gzip with a wrong CRC', flip(zipped, zipped.length - 7), 'corrupt'],
    ['gzip with a wrong size', flip(zipped, zipped.length - 1), 'corrupt'],
    ['gzip followed by garbage', Buffer.concat([zipped, Buffer.from('garbage')]), 'corrupt'],
    ['gzip with damaged data', Buffer.concat([zipped.subarray(0, 10), Buffer.alloc(500, 0xff)]), 'corrupt'],
    ['zstd cut off', zstd.subarray(0, 50_000), 'corrupt'],
    ['zstd with damaged data', Buffer.concat([zstd.subarray(0, 4), Buffer.alloc(99, 0xff)]), 'corrupt'],
    ['a tar cut off in a content', plain.subarray(0, 50_000), 'tar'],
    ['a tar cut off in a header', plain.subarray(0, 300), 'tar'],
    ['no tar at all', Buffer.alloc(2_000, 'no tar '), 'tar'],
    ['a header with a wrong checksum', flip(plain, 0), 'tar'],
    ['a zero block within', Buffer.concat([Buffer.alloc(512), plain]), 'tar'],
    ['a path that leads out', tarBytes([file('a/../../b', '')]), 'path'],
    ['a hard link that leads out', tarBytes([hardlink('a', '../../etc/shadow')]), 'path'],
    ['a whiteout of its directory', tarBytes([file('a/.wh..', '')]), 'path'],
    ['a whiteout of the parent', tarBytes([file('a/.wh...', '')]), 'path'],
    ['a whiteout of nothing', tarBytes([file('a/.wh.', '')]), 'path'],
    ['a name that is too long', tarBytes([file('n'.repeat(256), '')]), 'limit'],
    ['a path that is too long', tarBytes([file('n/'.repeat(2_049), 'x')]), 'limit'],
    ['an empty link target', tarBytes([symlink('a', '')]), 'tar'],
    ['a uid that is none', tarBytes([file('a', '', { pax: { uid: '4294967296' } })]), 'limit'],
    ['a PAX size that is none', tarBytes([file('a', 'b', { pax: { size: '1e3' } })]), 'tar'],
    ['a PAX path with a NUL', tarBytes([file('a', 'b', { pax: { path: 'x\0y' } })]), 'tar'],
    [
      'a sparse file, PAX',
      tarBytes([
        file('s', '', {
          sparse: { form: 'pax', sizeBytes: 9_000, segments: [{ offset: 4_096, data: noise(10) }] },
        }),
      ]),
      'sparse',
    ],
    [
      'a sparse file, old GNU',
      tarBytes([
        file('s', '', {
          sparse: { form: 'gnu', sizeBytes: 9_000, segments: [{ offset: 4_096, data: noise(10) }] },
        }),
      ]),
      'unsupported',
    ],
  ];
  for (const [name, bytes, kind] of bad) {
    it(`refuses ${name}`, async () => {
      await assert.rejects(scan(bytes), (error) => {
        assert.ok(error instanceof LayerError, String(error));
        assert.equal(error.kind, kind, error.message);
        return true;
      });
    });
  }

  it('stops when it is told to', async () => {
    const controller = new AbortController();
    controller.abort();
    await assert.rejects(scanLayer(pieces(blob, 1_000), controller.signal), { name: 'AbortError' });
  });
});
