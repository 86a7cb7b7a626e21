import assert from 'node:assert/strict';
import { isMounted } from '../../../worker/filesystem/mount-table.ts';

const TABLE = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
36 22 0:31 / /run/a rw - tmpfs tmpfs rw
37 22 0:32 / /run/with\\040space\\134and\\012more rw - fuse.starlight starlight ro
`;

const ROWS: readonly (readonly [mountpoint: string, mounted: boolean])[] = [
  ['/', true],
  ['/run/a', true],
  ['/run/with space\\and\nmore', true],
  ['/run', false],
  ['/run/a/', false],
  ['/run/a/b', false],
  ['/run/with\\040space\\134and\\012more', false],
  ['tmpfs', false],
  ['0:31', false],
  ['', false],
];

describe('isMounted()', () => {
  for (const [mountpoint, mounted] of ROWS) {
    it(`says ${mounted} for ${JSON.stringify(mountpoint)}`, () => {
      assert.equal(isMounted(mountpoint, TABLE), mounted);
    });
  }

  it('reads the table of this process', () => {
    assert.equal(isMounted('/'), true);
    assert.equal(isMounted('/nothing is mounted here'), false);
  });
});
