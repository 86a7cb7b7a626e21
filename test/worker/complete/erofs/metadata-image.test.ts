import assert from 'node:assert/strict';
import { file, type SampleEntry, sampleTree } from '../../../../conformance/filesystem/sample-tree.ts';
import { chunkBits, chunkCount } from '../../../../worker/complete/erofs/format.ts';
import { XattrLimitError } from '../../../../worker/complete/erofs/inode-xattrs.ts';
import { MetadataImage } from '../../../../worker/complete/erofs/metadata-image.ts';

const UUID = Buffer.from('0123456789abcdef');
const BYTES = Buffer.from('content');

function write(entries: readonly SampleEntry[], uuid: Uint8Array = UUID): Buffer {
  return Buffer.concat([...new MetadataImage(sampleTree(entries), uuid).pieces()]);
}

describe('MetadataImage', () => {
  it('begins with the superblock at 1024 and the root behind it', () => {
    const bytes = write([file('a', BYTES)]);
    assert.equal(bytes.readUInt32LE(1024), 0xe0f5e1e2);
    assert.equal(bytes.readUInt8(1024 + 12), 12, 'blocks of 4096 bytes');
    assert.equal(bytes.readUInt16LE(1024 + 14) * 32, 1152, 'number of the root');
    assert.equal(bytes.readUInt32LE(1024 + 36) * 4096, bytes.length, 'its blocks are all there is');
    assert.ok(bytes.subarray(1024 + 48, 1024 + 64).equals(UUID));
    assert.ok(bytes.subarray(0, 1024).every((byte) => byte === 0));
  });

  it('is the same for the same tree and uuid, and another for another', () => {
    const entries = [file('a', BYTES), file('b/c', BYTES)];
    assert.deepEqual(write(entries), write(entries));
    assert.notDeepEqual(write(entries), write(entries, Buffer.alloc(16, 1)));
    assert.notDeepEqual(write(entries), write([file('a', BYTES), file('b/d', BYTES)]));
  });

  it('knows its size beforehand', () => {
    const tree = sampleTree(Array.from({ length: 3000 }, (_, index) => file(`d/${index}`, BYTES)));
    const image = new MetadataImage(tree, UUID);
    assert.equal(Buffer.concat([...image.pieces()]).length, image.sizeBytes);
  });

  const value = (bytes: number): SampleEntry =>
    file('a', BYTES, { xattrs: { 'user.a': Buffer.alloc(bytes) } });
  const LIMITS: readonly (readonly [title: string, entry: SampleEntry, fits: boolean])[] = [
    ['a value of 65,535 bytes', value(65_535), true],
    ['a value of 65,536 bytes', value(65_536), false],
    ['a name of 255 bytes', file('a', BYTES, { xattrs: { [`user.${'n'.repeat(250)}`]: BYTES } }), true],
  ];
  for (const [title, entry, fits] of LIMITS) {
    it(`${fits ? 'holds' : 'refuses'} ${title}`, () => {
      if (fits) assert.ok(write([entry]).length > 0);
      else assert.throws(() => write([entry]), XattrLimitError);
    });
  }

  it('leaves out attributes of which the kernel could not say the name', () => {
    const plain = write([file('a', BYTES)]);
    assert.deepEqual(write([file('a', BYTES, { xattrs: { 'system.nfs4_acl': BYTES } })]), plain);
  });
});

describe('the chunks of a hole', () => {
  const ROWS: readonly (readonly [sizeBytes: number, bits: number, count: number])[] = [
    [1, 0, 1],
    [4096, 0, 1],
    [4097, 1, 1],
    [2 ** 20, 8, 1],
    [2 ** 20 + 1, 9, 1],
    [2 ** 43, 31, 1],
    [2 ** 44, 31, 2],
  ];
  for (const [sizeBytes, bits, count] of ROWS) {
    it(`${sizeBytes} bytes`, () =>
      assert.deepEqual([chunkBits(sizeBytes), chunkCount(sizeBytes)], [bits, count]));
  }
});
