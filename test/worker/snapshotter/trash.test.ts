import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Trash } from '../../../worker/snapshotter/trash.ts';
import { FailingLog } from '../../support/failing-log.ts';
import { skip } from '../../support/skip.ts';

const LOCKED = 'a directory without permissions';

describe('Trash', () => {
  let directory: string;
  let tree: string;
  let log: FailingLog;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sl-trash-'));
    tree = join(directory, 'tree');
    mkdirSync(tree);
    log = new FailingLog();
  });
  afterEach(() => {
    rmSync(directory, { recursive: true });
    log.assertQuiet();
  });

  function open(): Promise<Trash> {
    return Trash.open(join(directory, 'trash'), log);
  }

  function left(): string[] {
    return readdirSync(join(directory, 'trash'));
  }

  const TREES: readonly (readonly [title: string, make: (at: string) => void])[] = [
    ['an empty directory', () => {}],
    [
      'files in directories',
      (at) => {
        for (let d = 0; d < 5; d++) {
          mkdirSync(join(at, `d${d}`));
          for (let f = 0; f < 50; f++) writeFileSync(join(at, `d${d}`, `f${f}`), '');
        }
      },
    ],
    [
      'names that are not UTF-8',
      (at) => {
        const name = Buffer.concat([Buffer.from(`${at}/`), Buffer.from([0x80])]);
        mkdirSync(name);
        writeFileSync(Buffer.concat([name, Buffer.from([0x2f, 0xff])]), '');
      },
    ],
    [LOCKED, (at) => mkdirSync(join(at, 'closed'), { mode: 0 })],
    [
      'a path longer than a path may be',
      (at) => {
        const name = 'n'.repeat(200);
        const home = process.cwd();
        process.chdir(at);
        try {
          for (let depth = 0; depth < 150; depth++) {
            mkdirSync(name);
            process.chdir(name);
          }
        } finally {
          process.chdir(home);
        }
      },
    ],
  ];
  for (const [title, make] of TREES) {
    it(`deletes ${title}`, async function () {
      if (title === LOCKED && process.getuid?.() !== 0) skip(this, 'not root, as the daemon is');
      make(tree);
      const trash = await open();
      trash.discard(tree);
      assert.equal(existsSync(tree), false);
      await trash.drained();
      assert.deepEqual(left(), []);
      await trash.close();
    });
  }

  it('follows no link out of the tree', async () => {
    const outside = join(directory, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'kept'), 'x');
    symlinkSync(outside, join(tree, 'link'));
    const trash = await open();
    trash.discard(tree);
    await trash.drained();
    assert.deepEqual(left(), []);
    assert.deepEqual(readdirSync(outside), ['kept']);
    await trash.close();
  });

  it('deletes several, and what comes while it deletes', async () => {
    const trash = await open();
    for (let index = 0; index < 10; index++) {
      const path = join(directory, `t${index}`);
      mkdirSync(join(path, 'a'), { recursive: true });
      trash.discard(path);
    }
    await trash.drained();
    assert.deepEqual(left(), []);
    await trash.close();
  });

  it('takes what is not there for discarded', async () => {
    const trash = await open();
    trash.discard(join(directory, 'nothing'));
    await trash.close();
  });

  it('stops when closed, and the next one goes on', async () => {
    for (let d = 0; d < 40; d++) {
      mkdirSync(join(tree, `d${d}`));
      for (let f = 0; f < 20; f++) writeFileSync(join(tree, `d${d}`, `f${f}`), '');
    }
    const first = await open();
    first.discard(tree);
    await first.close();
    assert.equal(left().length, 1);
    const second = await open();
    await second.drained();
    assert.deepEqual(left(), []);
    await second.close();
  });
});
