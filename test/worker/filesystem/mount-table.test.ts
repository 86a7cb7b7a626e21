import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalMountpoint, isMounted, mountedDevice } from '../../../worker/filesystem/mount-table.ts';

const TABLE = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
36 22 0:31 / /run/a rw - tmpfs tmpfs rw
38 22 0:33 / /run/a rw - tmpfs above rw
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

describe('mountedDevice()', () => {
  it('names the device, of the topmost mount', () => {
    assert.equal(mountedDevice('/', TABLE), '254:0');
    assert.equal(mountedDevice('/run/a', TABLE), '0:33');
    assert.equal(mountedDevice('/run', TABLE), undefined);
  });
});

describe('canonicalMountpoint()', () => {
  it('follows links on the way to the mountpoint, and not the mountpoint', () => {
    const base = realpathSync(mkdtempSync(join(tmpdir(), 'starlight-mountpoint-')));
    try {
      mkdirSync(join(base, 'real'));
      symlinkSync('real', join(base, 'link'));
      symlinkSync('/nowhere', join(base, 'real', 'mount'));
      assert.equal(canonicalMountpoint(join(base, 'link', 'mount')), join(base, 'real', 'mount'));
      assert.equal(canonicalMountpoint(`${base}/link/../link/absent/`), join(base, 'real', 'absent'));
    } finally {
      rmSync(base, { recursive: true });
    }
  });
});
