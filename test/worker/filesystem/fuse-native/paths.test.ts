import assert from 'node:assert/strict';
import { directory, file, sampleTree } from '../../../../conformance/filesystem/sample-tree.ts';
import { Paths } from '../../../../worker/filesystem/fuse-native/paths.ts';

const X = Buffer.from('x');
const tree = sampleTree([
  directory('d'),
  directory('d/sub'),
  file('d/sub/leaf', X),
  file('top', X),
  file(Buffer.from([0x64, 0x2f, 0xe9, 0xff]), X),
  file('d/ü', X),
]);

const FOUND: readonly (readonly [path: string, raw: string | Uint8Array])[] = [
  ['/top', 'top'],
  ['/d', 'd'],
  ['/d/sub', 'd/sub'],
  ['/d/sub/leaf', 'd/sub/leaf'],
  ['/d/\xe9\xff', Buffer.from([0x64, 0x2f, 0xe9, 0xff])],
  ['/d/\xc3\xbc', 'd/ü'],
];

const MISSING: readonly string[] = [
  '/absent',
  '/d/absent',
  '/absent/leaf',
  '/top/leaf',
  '/d/sub/leaf/below',
  '/d/ü',
  '/d/\xe9',
  '/to',
  '/top2',
  '/d/',
];

describe('Paths.find()', () => {
  const paths = new Paths(tree);

  it('finds the root', () => assert.equal(paths.find('/'), 0));
  for (const [path, raw] of FOUND) {
    it(`finds ${JSON.stringify(path)}, twice`, () => {
      const inode = tree.resolve(raw);
      assert.ok(inode > 0);
      assert.deepEqual([paths.find(path), paths.find(path)], [inode, inode]);
    });
  }
  for (const path of MISSING) {
    it(`does not find ${JSON.stringify(path)}`, () => assert.equal(paths.find(path), -1));
  }
});
