import assert from 'node:assert/strict';
import { ByteWriter } from '../../../schemas/toc/byte-writer.ts';
import { LayerTocBuilder, type TocEntry } from '../../../schemas/toc/builder.ts';
import { TocError, type TocFault } from '../../../schemas/toc/error.ts';
import { decodeImageToc, encodeImageToc, tocDigestOf } from '../../../schemas/toc/image-toc.ts';
import { KIND } from '../../../schemas/toc/kind.ts';
import { decodeLayerToc, encodeLayerToc } from '../../../schemas/toc/layer-codec.ts';
import { decodeLayerContents, decodeLayerDigests } from '../../../schemas/toc/layer-contents.ts';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { randomly } from '../../support/randomly.ts';
import { layerOf } from '../../support/toc-entries.ts';

const awkward = layerOf([
  ['directory', '', { mode: 0o755, mtimeSec: 1 }],
  ['directory', 'dir', { xattrs: { 'user.b': '2', 'user.a': '1' } }],
  [
    'file',
    'dir/a',
    {
      content: 'one',
      mode: 0o4755,
      uid: 0xffffffff,
      gid: 70_000,
      mtimeSec: -(2 ** 40),
      mtimeNsec: 999_999_999,
    },
  ],
  [
    'file',
    'dir/ab',
    { content: 'two', payload: 0, innerOffset: 512, xattrs: { 'user.a': '1', 'user.b': '2' } },
  ],
  ['file', 'dir/empty'],
  ['file', 'dir/same', { content: 'one' }],
  ['file', 'z', { content: 'three', payloadLength: 2 ** 33 }],
  ['file', 'zz', { content: 'four', mtimeSec: 2 ** 40 }],
  ['symlink', 'dir/s', { link: '../../\xff/./' }],
  ['hardlink', 'h', { link: 'dir/a' }],
  ['chardev', 'c', { devMajor: 5, devMinor: 0xffffffff }],
  ['blockdev', 'b', { devMajor: 8 }],
  ['fifo', 'p'],
  ['whiteout', 'gone'],
  ['opaque', 'dir'],
  ['opaque', ''],
  ['file', Buffer.from([0x80, 0xff, 0x2f, 0x01])],
  ['file', `${'n'.repeat(255)}/${'m'.repeat(255)}`],
]);

function refuses(kind: TocFault): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TocError, String(error));
    assert.equal(error.kind, kind, error.message);
    return true;
  };
}

describe('decodeLayerToc()', () => {
  it('gives back what encodeLayerToc() took', () => {
    const bytes = encodeLayerToc(awkward);
    assert.deepEqual(decodeLayerToc(bytes), awkward);
    assert.deepEqual(encodeLayerToc(decodeLayerToc(Buffer.from(bytes))), bytes);
  });

  it('gives back a layer without entries', () => {
    assert.deepEqual(decodeLayerToc(encodeLayerToc(layerOf([]))), layerOf([]));
  });

  it('does not keep the bytes that it was given', () => {
    const bytes = Buffer.from(encodeLayerToc(awkward));
    const toc = decodeLayerToc(bytes);
    bytes.fill(0);
    assert.deepEqual(toc, awkward);
  });

  /** A layer of one row, its fields written by hand in the order of the format. */
  function oneRow(change: Partial<Record<keyof typeof ONE, number | readonly number[]>>): Uint8Array {
    const writer = new ByteWriter().bytes(Buffer.from('SLTL')).u8(1).bytes(new Uint8Array(32));
    for (const value of Object.values({ ...ONE, ...change })) {
      for (const byte of typeof value === 'number' ? [value] : value) writer.u8(byte);
    }
    return writer.finish();
  }
  const ONE = {
    rows: 1,
    kind: KIND.file as number | readonly number[],
    shared: 0,
    rest: 1,
    path: 0x61,
    mode: [0xa4, 0x03],
    uid: 0,
    gid: 0,
    sec: 0,
    nsec: 0,
    sets: 0,
    xattr: 0,
    devices: [],
    links: [],
    contents: 1,
    payloads: 1,
    size: 1,
    payload: 0,
    inner: 0,
    offset: 0,
    length: 1,
    digest: Array.from(new Uint8Array(32)),
    use: 1,
    end: [],
  } as const;

  it('takes a row written by hand', () => {
    assert.equal(decodeLayerToc(oneRow({})).rowCount, 1);
  });

  const huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
  const rows: readonly (readonly [string, Parameters<typeof oneRow>[0], TocFault])[] = [
    ['more rows than there are bytes', { rows: [0xff, 0xff, 0x03] }, 'truncated'],
    ['more rows than the limit', { rows: [0xff, 0xff, 0xff, 0x7f] }, 'limit'],
    ['a number spelt long', { rows: [0x81, 0x00] }, 'malformed'],
    ['a number above 2^53', { rows: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01] }, 'malformed'],
    ['an unknown kind', { kind: 9 }, 'malformed'],
    ['a path that shares what is not there', { shared: 1, rest: 1 }, 'malformed'],
    ['a path beyond the limit', { rest: [0x80, 0x20] }, 'limit'],
    ['a path that is absolute', { path: 0x2f }, 'malformed'],
    ['a path "."', { path: 0x2e }, 'malformed'],
    ['a path ".."', { rest: 2, path: [0x2e, 0x2e] }, 'malformed'],
    ['a path "a/.."', { rest: 4, path: [0x61, 0x2f, 0x2e, 0x2e] }, 'malformed'],
    ['a path "a/"', { rest: 2, path: [0x61, 0x2f] }, 'malformed'],
    ['a path "a//b"', { rest: 4, path: [0x61, 0x2f, 0x2f, 0x62] }, 'malformed'],
    ['a path with a NUL', { path: 0 }, 'malformed'],
    ['a file without a name', { rest: 0, path: [] }, 'malformed'],
    ['a mode above 07777', { mode: [0x80, 0x20] }, 'limit'],
    ['an owner above 2^32', { uid: [0x80, 0x80, 0x80, 0x80, 0x10] }, 'limit'],
    ['a time beyond the limit', { sec: huge }, 'limit'],
    ['nanoseconds of a second', { nsec: [0x80, 0x94, 0xeb, 0xdc, 0x03] }, 'limit'],
    ['a set of attributes that is empty', { sets: [1, 0, 0, 0, 0] }, 'malformed'],
    ['attributes that are not there', { xattr: 1 }, 'limit'],
    ['an attribute without a name', { sets: [1, 1, 0, 0] }, 'malformed'],
    ['attributes out of order', { sets: [1, 2, 1, 0x62, 0, 1, 0x61, 0] }, 'malformed'],
    ['an attribute twice', { sets: [1, 2, 1, 0x61, 0, 1, 0x61, 0] }, 'malformed'],
    ['a symlink without a target', { kind: KIND.symlink, links: [0], use: [] }, 'malformed'],
    ['a symlink with a NUL', { kind: KIND.symlink, links: [1, 0], use: [] }, 'malformed'],
    ['a hard link out of the tree', { kind: KIND.hardlink, links: [2, 0x2e, 0x2e], use: [] }, 'malformed'],
    ['a target longer than the rest', { kind: KIND.symlink, links: [0xff, 0x1f], use: [] }, 'truncated'],
    ['a content of no bytes', { size: 0 }, 'malformed'],
    ['a content beyond the limit', { size: huge }, 'limit'],
    ['a payload of no bytes', { length: 0 }, 'malformed'],
    ['a payload before the blob', { offset: 1 }, 'limit'],
    ['a payload that no content uses', { contents: 1, payloads: 2, offset: [0, 0], length: [1, 1] }, 'limit'],
    ['no payload for a content', { payloads: 0, offset: [], length: [] }, 'malformed'],
    ['a content that no row uses', { use: 0 }, 'malformed'],
    ['a row of a content that is not there', { use: 2 }, 'limit'],
    ['less than all', { use: [] }, 'truncated'],
    ['more than all', { end: [0] }, 'truncated'],
  ];
  for (const [what, change, kind] of rows) {
    it(`refuses ${what}`, () => assert.throws(() => decodeLayerToc(oneRow(change)), refuses(kind)));
  }

  it('refuses a path that shares less than it could', () => {
    const bytes = encodeLayerToc(
      layerOf([
        ['file', 'ab'],
        ['file', 'ac'],
      ]),
    );
    const at = Buffer.from(bytes).indexOf(Buffer.from([0, 1, 2, 1, 0x61, 0x62, 0x63]));
    const changed = Buffer.concat([
      bytes.subarray(0, at),
      Buffer.from([0, 0, 2, 2, 0x61, 0x62, 0x61, 0x63]),
      bytes.subarray(at + 7),
    ]);
    assert.ok(at > 0);
    assert.throws(() => decodeLayerToc(changed), refuses('malformed'));
  });

  it('answers damage with its own error or another table, never with anything else', () => {
    const random = randomly(42);
    const whole = encodeLayerToc(awkward);
    let refused = 0;
    for (let round = 0; round < 20_000; round += 1) {
      const bytes = random.damaged(whole);
      try {
        // what passes is canonical again
        const again = encodeLayerToc(decodeLayerToc(bytes));
        assert.equal(again.length > 0, true);
      } catch (error) {
        assert.ok(error instanceof TocError, `round ${round}: ${error}`);
        refused += 1;
      }
    }
    assert.ok(refused > 10_000, `${refused} refused`);
  });

  it('refuses every truncation', () => {
    const whole = encodeLayerToc(awkward);
    for (let length = 0; length < whole.length; length += 1) {
      assert.throws(() => decodeLayerToc(whole.subarray(0, length)), TocError, `${length} bytes`);
    }
  });
});

describe('decodeLayerContents() and decodeLayerDigests()', () => {
  const rows: readonly (readonly [what: string, toc: typeof awkward])[] = [
    ['every kind of entry', awkward],
    ['no entries', layerOf([])],
    [
      'no contents',
      layerOf([
        ['directory', 'a'],
        ['symlink', 'b', { link: 'a' }],
      ]),
    ],
    ['many', layerOf(Array.from({ length: 300 }, (_, i) => ['file', `f${i}`, { content: `${i}` }] as const))],
  ];
  for (const [what, toc] of rows) {
    it(`give what the whole table says: ${what}`, () => {
      const bytes = encodeLayerToc(toc);
      const { contents, payloads } = decodeLayerContents(bytes);
      assert.deepEqual(
        { ...contents, digest: Buffer.from(contents.digest) },
        {
          ...toc.contents,
          digest: Buffer.from(toc.contents.digest),
        },
      );
      assert.deepEqual(payloads, toc.payloads);
      assert.ok(Buffer.from(decodeLayerDigests(bytes)).equals(toc.contents.digest));
    });
  }

  it('refuse every truncation before the end of the digests', () => {
    const bytes = encodeLayerToc(awkward);
    const end = bytes.length - awkward.kind.filter((kind) => kind === KIND.file).length;
    for (let length = 0; length < end; length += 1) {
      for (const decode of [decodeLayerContents, decodeLayerDigests]) {
        assert.throws(
          () => decode(bytes.subarray(0, length)),
          TocError,
          `${length} of ${bytes.length} bytes`,
        );
      }
    }
  });

  it('answer damage with their own error or other contents, never with anything else', () => {
    const good = encodeLayerToc(awkward);
    const random = randomly(11);
    for (let round = 0; round < 3000; round += 1) {
      const bytes = random.damaged(good);
      for (const decode of [decodeLayerContents, decodeLayerDigests]) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof TocError, String(error));
        }
      }
    }
  });
});

describe('decodeImageToc()', () => {
  const one = layerOf([['file', 'a', { content: 'x' }]]);

  it('gives back what encodeImageToc() took', () => {
    for (const layers of [[], [one], [awkward, one, awkward]]) {
      assert.deepEqual(decodeImageToc(encodeImageToc(layers)), layers);
    }
  });

  it('keeps the ToC digest of version 1', () => {
    const builder = new LayerTocBuilder();
    builder.addPayload(9, 7);
    const content = builder.addContent({
      digest: new Uint8Array(32).fill(1),
      sizeBytes: 5,
      payload: 0,
      innerOffset: 3,
    });
    builder.add({
      kind: KIND.file,
      path: Buffer.from('etc/motd'),
      mode: 0o644,
      mtimeSec: 1_700_000_000,
      content,
    });
    const toc = builder.finish(`sha256:${'ab'.repeat(32)}` as Digest);
    const bytes = encodeImageToc([toc]);
    assert.equal(tocDigestOf(bytes), digestOf(bytes));
    // It stands in the manifests of converted images: a change of the encoding needs a new version.
    assert.equal(
      tocDigestOf(bytes),
      'sha256:58e44a702dc3b5a31bc0c9ffa31be58128e7d545719d8d70b3b806cb384fa0f7',
    );
  });

  const bad: readonly (readonly [string, (bytes: Buffer) => Buffer, TocFault])[] = [
    ['nothing', () => Buffer.alloc(0), 'truncated'],
    ['another magic', (bytes) => Buffer.from(bytes.fill('X', 0, 1)), 'version'],
    ['another version', (bytes) => Buffer.from(bytes.fill(2, 4, 5)), 'version'],
    ['more layers than there are bytes', (bytes) => Buffer.from(bytes.fill(0x7f, 5, 6)), 'truncated'],
    ['a layer that is longer than the rest', (bytes) => Buffer.from(bytes.fill(0xff, 6, 9)), 'truncated'],
    ['a layer of another version', (bytes) => Buffer.from(bytes.fill(7, 14, 15)), 'version'],
    ['more than all', (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]), 'truncated'],
  ];
  for (const [what, change, kind] of bad) {
    it(`refuses ${what}`, () => {
      assert.throws(() => decodeImageToc(change(Buffer.from(encodeImageToc([one])))), refuses(kind));
    });
  }
});

describe('LayerTocBuilder', () => {
  const digest = new Uint8Array(32);
  const path = Buffer.from('a');

  it('numbers contents and payloads by first use, and drops what is not used', () => {
    const builder = new LayerTocBuilder();
    const place = (payload: number, fill: number) => ({
      digest: digest.slice().fill(fill),
      sizeBytes: 1,
      payload,
      innerOffset: 0,
    });
    builder.addPayload(100, 1);
    builder.addPayload(200, 1);
    builder.addPayload(300, 1);
    const first = builder.addContent(place(2, 1));
    builder.addContent(place(1, 2));
    const third = builder.addContent(place(0, 3));
    builder.add({ kind: KIND.file, path: Buffer.from('x'), content: third });
    builder.add({ kind: KIND.file, path: Buffer.from('y'), content: first });
    const toc = builder.finish(digestOf(''));
    assert.deepEqual([...toc.content], [0, 1]);
    assert.deepEqual([...toc.payloads.offset], [100, 300]);
    assert.deepEqual([...toc.contents.payload], [0, 1]);
  });

  it('takes a digest once, wherever it lies again', () => {
    const builder = new LayerTocBuilder();
    const one = builder.addContent({ digest, sizeBytes: 1, payload: 0, innerOffset: 0 });
    assert.equal(builder.addContent({ digest, sizeBytes: 1, payload: 5, innerOffset: 9 }), one);
  });

  const bad: readonly (readonly [string, TocEntry, TocFault])[] = [
    ['a path that is absolute', { kind: KIND.file, path: Buffer.from('/a') }, 'malformed'],
    ['a path with ".."', { kind: KIND.file, path: Buffer.from('a/../b') }, 'malformed'],
    ['a name of 256 bytes', { kind: KIND.file, path: Buffer.alloc(256, 'a') }, 'limit'],
    ['a path of 4096 bytes', { kind: KIND.file, path: Buffer.from('a/'.repeat(2047).concat('aa')) }, 'limit'],
    ['a symlink for the root', { kind: KIND.symlink, path: Buffer.alloc(0), link: path }, 'malformed'],
    ['a kind of no sort', { kind: 9 as never, path }, 'malformed'],
    ['a mode with a type', { kind: KIND.file, path, mode: 0o100644 }, 'limit'],
    ['a negative owner', { kind: KIND.file, path, uid: -1 }, 'limit'],
    ['a broken owner', { kind: KIND.file, path, gid: 1.5 }, 'malformed'],
    ['a time that is not a number', { kind: KIND.file, path, mtimeSec: Number.NaN }, 'malformed'],
    ['a second in nanoseconds', { kind: KIND.file, path, mtimeNsec: 1_000_000_000 }, 'limit'],
    ['a file with a device number', { kind: KIND.file, path, devMajor: 1 }, 'limit'],
    ['a file with a target', { kind: KIND.file, path, link: path }, 'malformed'],
    ['a symlink without a target', { kind: KIND.symlink, path }, 'malformed'],
    ['a target with a NUL', { kind: KIND.symlink, path, link: Buffer.from('a\0') }, 'malformed'],
    ['a target of 4096 bytes', { kind: KIND.symlink, path, link: Buffer.alloc(4096, 'a') }, 'limit'],
    ['a hard link to an absolute path', { kind: KIND.hardlink, path, link: Buffer.from('/a') }, 'malformed'],
    ['a content that was not added', { kind: KIND.file, path, content: 1 }, 'malformed'],
    ['a directory with a content', { kind: KIND.directory, path, content: 0 }, 'malformed'],
    [
      'an attribute name of 256 bytes',
      { kind: KIND.file, path, xattrs: [[Buffer.alloc(256, 'a'), path]] },
      'limit',
    ],
    [
      'an attribute of 65,537 bytes',
      { kind: KIND.file, path, xattrs: [[path, Buffer.alloc(65_537)]] },
      'limit',
    ],
    [
      'an attribute without a name',
      { kind: KIND.file, path, xattrs: [[Buffer.alloc(0), path]] },
      'malformed',
    ],
  ];
  for (const [what, entry, kind] of bad) {
    it(`refuses ${what}`, () => {
      const builder = new LayerTocBuilder();
      builder.addContent({ digest, sizeBytes: 1, payload: 0, innerOffset: 0 });
      assert.throws(() => builder.add(entry), refuses(kind));
    });
  }

  it('refuses contents and payloads that are none', () => {
    const builder = new LayerTocBuilder();
    const content = { digest, sizeBytes: 1, payload: 0, innerOffset: 0 };
    assert.throws(() => builder.addContent({ ...content, digest: digest.slice(1) }), refuses('malformed'));
    assert.throws(() => builder.addContent({ ...content, sizeBytes: 0 }), refuses('limit'));
    assert.throws(() => builder.addContent({ ...content, innerOffset: -1 }), refuses('limit'));
    assert.throws(() => builder.addPayload(0, 0), refuses('limit'));
    assert.throws(() => builder.addPayload(2 ** 51, 1), refuses('limit'));
    builder.add({ kind: KIND.file, path, content: builder.addContent(content) });
    assert.throws(() => builder.finish(digestOf('')), refuses('malformed'));
    assert.throws(() => builder.finish('sha256:no' as Digest), refuses('malformed'));
  });
});
