import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { processesOf, removeLeftovers } from '../../../scripts/demo/leftovers.ts';

/** The id of a process that has ended. */
function deadPid(): number {
  return spawnSync('true').pid;
}

describe('removeLeftovers()', () => {
  let parent: string;
  const children: ChildProcess[] = [];
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'sl-left-'));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await rm(parent, { recursive: true, force: true });
  });

  /** A process that names `path` in its command, and runs until it is killed. */
  async function processOn(path: string): Promise<ChildProcess> {
    const child = spawn('tail', ['-f', '/dev/null', path], { stdio: 'ignore' });
    children.push(child);
    await once(child, 'spawn');
    return child;
  }

  it('ends the processes of a run that was killed, and removes its directory', async () => {
    const directory = join(parent, `sl-demo-${deadPid()}`);
    await mkdir(join(directory, 'edge'), { recursive: true });
    await writeFile(join(directory, 'edge/log'), '');
    const child = await processOn(join(directory, 'edge/log'));
    const ended = once(child, 'exit');
    assert.deepEqual(await removeLeftovers(parent), [directory]);
    assert.deepEqual(await ended, [null, 'SIGKILL']);
    assert.deepEqual(await readdir(parent), []);
  });

  it('leaves alone what goes on, and what is not of a demo', async () => {
    const script = join(parent, 'demo/main.ts');
    await mkdir(join(parent, 'demo'));
    await writeFile(script, '');
    const running = await processOn(script);
    const kept = [`sl-demo-${running.pid}`, `sl-demo-${deadPid()}x`, 'sl-demo-', 'other'];
    for (const name of kept) await mkdir(join(parent, name));
    assert.deepEqual(await removeLeftovers(parent), []);
    assert.deepEqual((await readdir(parent)).sort(), [...kept, 'demo'].sort());
    assert.equal(running.exitCode, null);
  });

  it('does not touch what another user has put there', async () => {
    const directory = join(parent, `sl-demo-${deadPid()}`);
    await mkdir(directory);
    const uid = (await stat(directory)).uid;
    assert.deepEqual(await removeLeftovers(parent, uid + 1), []);
    assert.deepEqual(await removeLeftovers(parent, uid), [directory]);
  });
});

describe('processesOf()', () => {
  it('does not count a process that names another directory with the same beginning', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sl-left-'));
    const child = spawn('tail', ['-f', '/dev/null', `${directory}x/log`], { stdio: 'ignore' });
    try {
      await once(child, 'spawn');
      assert.deepEqual(await processesOf(directory), []);
    } finally {
      child.kill('SIGKILL');
      await rm(directory, { recursive: true, force: true });
    }
  });
});
