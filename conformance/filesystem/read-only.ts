import assert from 'node:assert/strict';
import {
  chmod,
  chown,
  link,
  mkdir,
  open,
  rename,
  rmdir,
  symlink,
  truncate,
  unlink,
  utimes,
} from 'node:fs/promises';
import { type DriverFactory, Fixture, run, type SampleMount } from './fixture.ts';
import { directory, file, sampleTree } from './sample-tree.ts';

const CHANGES: readonly { readonly what: string; readonly change: (root: string) => Promise<unknown> }[] = [
  { what: 'write', change: (root) => open(`${root}/file`, 'r+') },
  { what: 'append', change: (root) => open(`${root}/file`, 'a') },
  { what: 'create', change: (root) => open(`${root}/new`, 'w') },
  { what: 'truncate', change: (root) => truncate(`${root}/file`, 0) },
  { what: 'mkdir', change: (root) => mkdir(`${root}/new`) },
  { what: 'rmdir', change: (root) => rmdir(`${root}/empty`) },
  { what: 'unlink', change: (root) => unlink(`${root}/file`) },
  { what: 'rename', change: (root) => rename(`${root}/file`, `${root}/other`) },
  { what: 'link', change: (root) => link(`${root}/file`, `${root}/other`) },
  { what: 'symlink', change: (root) => symlink('file', `${root}/other`) },
  { what: 'chmod', change: (root) => chmod(`${root}/file`, 0o600) },
  { what: 'chown', change: (root) => chown(`${root}/file`, 1, 1) },
  { what: 'utimes', change: (root) => utimes(`${root}/file`, 1, 1) },
];

/** Nothing can be changed, by root either. */
export function describeReadOnly(makeDriver: DriverFactory): void {
  describe('read-only', () => {
    let fixture: Fixture;
    let mount: SampleMount;

    before(async () => {
      fixture = await Fixture.open(makeDriver);
      mount = await fixture.mount(sampleTree([file('file', Buffer.from('x')), directory('empty')]));
      mount.contents.put(Buffer.from('x'));
    });
    after(() => fixture.close());

    for (const { what, change } of CHANGES) {
      it(`refuses ${what} with EROFS`, () => assert.rejects(change(mount.path), { code: 'EROFS' }));
    }

    it('refuses to set an extended attribute', async () => {
      const { code, stderr } = await run('setfattr', ['-n', 'user.x', '-v', 'y', `${mount.path}/file`]);
      assert.notEqual(code, 0);
      assert.match(stderr, /Read-only file system/);
    });
  });
}
