import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { diskUsage } from '../../../worker/snapshotter/disk-usage.ts';
import { NEVER } from '../../support/snapshotter-home.ts';

describe('diskUsage()', () => {
  let directory: string;
  let tree: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sl-usage-'));
    tree = join(directory, 'tree');
    mkdirSync(tree);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** What du(1) says, which counts links once as well. */
  function du(): { sizeBytes: number; inodes: number } {
    const ask = (...options: string[]): number =>
      Number(execFileSync('du', ['-s', ...options, tree], { encoding: 'utf8' }).split('\t')[0]);
    return { sizeBytes: ask('-B', '1'), inodes: ask('--inodes') };
  }

  const ROWS: readonly (readonly [title: string, inodes: number, make: (at: string) => void])[] = [
    ['nothing but the root', 1, () => {}],
    [
      'files and directories',
      4,
      (at) => {
        mkdirSync(join(at, 'd'));
        writeFileSync(join(at, 'd/a'), 'x'.repeat(10_000));
        writeFileSync(join(at, 'b'), '');
      },
    ],
    [
      'hard links once',
      3,
      (at) => {
        mkdirSync(join(at, 'd'));
        writeFileSync(join(at, 'a'), 'x'.repeat(100_000));
        linkSync(join(at, 'a'), join(at, 'd/b'));
        linkSync(join(at, 'a'), join(at, 'c'));
      },
    ],
    [
      'a sparse file as what it takes',
      2,
      (at) => {
        writeFileSync(join(at, 'sparse'), 'x');
        truncateSync(join(at, 'sparse'), 1 << 30);
      },
    ],
    [
      'links without following them',
      3,
      (at) => {
        symlinkSync('/', join(at, 'root'));
        symlinkSync('nowhere', join(at, 'dangling'));
      },
    ],
    [
      'a name that is not UTF-8',
      3,
      (at) => {
        const name = Buffer.concat([Buffer.from(`${at}/`), Buffer.from([0xff, 0xfe])]);
        mkdirSync(name);
        writeFileSync(Buffer.concat([name, Buffer.from('/x')]), 'x'.repeat(5000));
      },
    ],
    [
      'a deep tree',
      301,
      (at) => {
        mkdirSync(join(at, ...Array(300).fill('d')), { recursive: true });
      },
    ],
    [
      'a large directory',
      2002,
      (at) => {
        mkdirSync(join(at, 'd'));
        for (let index = 0; index < 2000; index++) writeFileSync(join(at, 'd', `f${index}`), '');
      },
    ],
  ];
  for (const [title, inodes, make] of ROWS) {
    it(`counts ${title}`, async () => {
      make(tree);
      const usage = await diskUsage(tree, NEVER);
      assert.deepEqual(usage, du());
      assert.equal(usage.inodes, inodes);
    });
  }

  it('refuses a root that is a link, a file or absent', async () => {
    symlinkSync(tree, join(directory, 'link'));
    writeFileSync(join(directory, 'file'), '');
    await assert.rejects(diskUsage(join(directory, 'link'), NEVER), { code: 'ENOTDIR' });
    await assert.rejects(diskUsage(join(directory, 'file'), NEVER), { code: 'ENOTDIR' });
    await assert.rejects(diskUsage(join(directory, 'nothing'), NEVER), { code: 'ENOENT' });
  });

  it('stops when aborted, also in the middle', async () => {
    for (let index = 0; index < 1000; index++) writeFileSync(join(tree, `f${index}`), '');
    await assert.rejects(diskUsage(tree, AbortSignal.abort()), { name: 'AbortError' });
    const controller = new AbortController();
    const counting = diskUsage(tree, controller.signal);
    controller.abort();
    await assert.rejects(counting, { name: 'AbortError' });
  });
});
