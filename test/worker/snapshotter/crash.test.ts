import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createSnapshotter } from '../../../worker/snapshotter/create-snapshotter.ts';
import { DirectoryImages } from '../../support/directory-images.ts';
import { FailingLog } from '../../support/failing-log.ts';

/** Rounds of work and kill, and after how many completed operations each kill comes. */
const KILLS_AFTER = [1, 4, 9, 17, 30];

/** Makes, commits and removes snapshots for ever, and says each completed step. */
const WORKLOAD = `
import { createSnapshotter } from '${import.meta.resolve('../../../worker/snapshotter/create-snapshotter.ts')}';
import { NO_REMOTE_IMAGES as remoteImages } from '${import.meta.resolve('../../../worker/snapshotter/remote-images.ts')}';
const quiet = () => {};
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const snapshotter = await createSnapshotter({ root: process.argv[1], remoteImages, log });
const { signal } = new AbortController();
const round = process.argv[2];
const work = async (lane) => {
  for (let n = 0; ; n++) {
    const name = round + '-' + lane + '-' + n;
    const made = { key: name + '-a', parent: undefined, labels: {} };
    await snapshotter.prepare(made, signal);
    console.log('active ' + made.key);
    await snapshotter.commit({ ...made, name }, signal);
    console.log('committed ' + name);
    await snapshotter.view({ key: name + '-v', parent: name, labels: {} }, signal);
    if (n % 2 === 1) { await snapshotter.remove(name + '-v'); console.log('removed ' + name + '-v'); }
  }
};
await Promise.all([work(0), work(1), work(2)]);
`;

describe('a snapshotter killed at any moment', () => {
  let root: string;
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'sl-crash-'));
  });
  after(() => rmSync(root, { recursive: true }));

  /** Runs the workload, kills it after `steps` lines, and returns what it said, all of which is promised. */
  async function runAndKill(round: number, steps: number): Promise<string[]> {
    const args = ['--input-type=module', '-e', WORKLOAD, root, String(round)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const exit = once(child, 'exit');
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (lines.length === steps) child.kill('SIGKILL');
    }
    await exit;
    return lines;
  }

  for (const [round, steps] of KILLS_AFTER.entries()) {
    it(`keeps what it promised and leaves nothing else, killed after ${steps} steps`, async () => {
      const said = await runAndKill(round, steps);
      assert.ok(said.length >= steps);
      const log = new FailingLog();
      const snapshotter = await createSnapshotter({ root, remoteImages: new DirectoryImages(), log });
      try {
        const infos = [...snapshotter.list([])];
        const kinds = new Map(infos.map((info) => [info.key as string, info.kind]));
        for (const line of said) {
          const [step, key = ''] = line.split(' ');
          if (step === 'committed') assert.equal(kinds.get(key), 'committed', line);
          if (step === 'removed') assert.equal(kinds.has(key), false, line);
        }
        const onDisk = readdirSync(join(root, 'snapshots')).sort();
        assert.deepEqual(onDisk, infos.map((info) => String(info.id)).sort());
        for (const { id, kind } of infos) {
          assert.ok(existsSync(join(root, 'snapshots', String(id), 'fs')));
          if (kind === 'active') assert.ok(existsSync(join(root, 'snapshots', String(id), 'work')));
        }
        await snapshotter.drained();
        assert.deepEqual(readdirSync(join(root, 'trash')), []);
      } finally {
        await snapshotter.close();
      }
      log.assertQuiet();
    });
  }
});
