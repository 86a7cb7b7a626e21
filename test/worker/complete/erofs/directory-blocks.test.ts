import assert from 'node:assert/strict';
import {
  directory,
  file,
  type SampleEntry,
  sampleTree,
} from '../../../../conformance/filesystem/sample-tree.ts';
import { DirectoryEntries } from '../../../../worker/complete/erofs/directory-blocks.ts';
import { BLOCK_BYTES, DIRENT_BYTES } from '../../../../worker/complete/erofs/format.ts';

const NOTHING = new Uint8Array(0);

function entriesOf(names: readonly (string | Uint8Array)[]): DirectoryEntries {
  const entries: SampleEntry[] = [directory('')];
  for (const name of names) entries.push(file(name, NOTHING));
  return new DirectoryEntries(sampleTree(entries), 0);
}

function names(entries: DirectoryEntries): string[] {
  return Array.from({ length: entries.count }, (_, at) => Buffer.from(entries.name(at)).toString('latin1'));
}

describe('DirectoryEntries', () => {
  const ORDERS: readonly (readonly [
    title: string,
    names: readonly (string | Uint8Array)[],
    sorted: string[],
  ])[] = [
    ['an empty directory', [], ['.', '..']],
    ['usual names', ['b', 'a', 'A'], ['.', '..', 'A', 'a', 'b']],
    ['names below "."', ['-x', '!'], ['!', '-x', '.', '..']],
    ['names between "." and ".."', ['.-', '.!', '-'], ['-', '.', '.!', '.-', '..']],
    ['names above ".."', ['..a', '...', '.a'], ['.', '..', '...', '..a', '.a']],
    [
      'bytes that are no text',
      [Buffer.from([0xff]), Buffer.from([0x80]), 'z'],
      ['.', '..', 'z', '\x80', '\xff'],
    ],
  ];
  for (const [title, given, sorted] of ORDERS) {
    it(`sorts ${title}`, () => assert.deepEqual(names(entriesOf(given)), sorted));
  }

  const LONG = 250;
  const name = (index: number): string => `${index}`.padStart(LONG, 'n');
  const PACKS: readonly (readonly [title: string, count: number, blocks: number, hasTail: boolean])[] = [
    ['a few behind the inode', 3, 0, true],
    ['more than half a block in a block', 12, 1, false],
    ['a full block and a tail', 16, 1, true],
    ['many blocks', 155, 10, true],
  ];
  for (const [title, count, blocks, hasTail] of PACKS) {
    it(`packs ${title}`, () => {
      const entries = entriesOf(Array.from({ length: count }, (_, index) => name(index)));
      const packed = entries.pack();
      assert.equal(packed.blocks.length, blocks);
      assert.equal(packed.tail !== undefined, hasTail);
      const all = packed.tail === undefined ? packed.blocks : [...packed.blocks, packed.tail];
      assert.equal(all[0]?.first, 0);
      assert.equal(all.at(-1)?.last, entries.count);
      for (const [index, block] of all.entries()) {
        assert.ok(block.bytes <= BLOCK_BYTES);
        assert.equal(block.first, all[index - 1]?.last ?? 0, 'no gap');
      }
    });
  }

  it('writes numbers and places of names, then the names', () => {
    const entries = entriesOf(['abc']);
    const { tail } = entries.pack();
    assert.ok(tail !== undefined);
    const bytes = Buffer.alloc(tail.bytes);
    entries.write(bytes, tail, (inode) => 100 + inode);
    const heads = [0, 1, 2].map((at) => [
      Number(bytes.readBigUInt64LE(at * DIRENT_BYTES)),
      bytes.readUInt16LE(at * DIRENT_BYTES + 8),
      bytes.readUInt8(at * DIRENT_BYTES + 10),
    ]);
    assert.deepEqual(heads, [
      [100, 36, 2],
      [100, 37, 2],
      [101, 39, 1],
    ]);
    assert.equal(bytes.toString('latin1', 36), '...abc');
  });
});
