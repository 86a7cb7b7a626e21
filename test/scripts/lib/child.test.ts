import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { prints, Server, tryRun } from '../../../scripts/lib/child.ts';
import { until } from '../../support/until.ts';

describe('child processes', () => {
  let directory: string;
  let logFile: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sl-child-'));
    logFile = join(directory, 'log');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** The sixth field of proc(5)'s stat; the second is the command in parentheses. */
  const sessionOf = (pid: number) => {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[3]);
  };
  const isAlive = (pid: number) => {
    const status = existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, 'utf8') : 'Z';
    return !/^State:\s*Z|^Z/m.test(status);
  };

  it('keeps a server out of the session that a Ctrl-C in the terminal ends', async () => {
    const args = ['-c', 'echo ready; exec sleep 1000'];
    await using server = await Server.start({ command: 'sh', args, logFile }, prints(/ready/));
    assert.equal(sessionOf(server.pid), server.pid);
  });

  it('ends the wait for a server once its signal is aborted, and the server', async () => {
    const stop = new AbortController();
    const args = ['-c', 'echo $$; exec sleep 1000'];
    const ready = async (printed: () => string) => {
      if (/\n/.test(printed())) stop.abort(new Error('enough'));
      return false;
    };
    const starting = Server.start({ command: 'sh', args, logFile, signal: stop.signal }, ready);
    await assert.rejects(starting, /^Error: enough$/);
    assert.equal(isAlive(Number(readFileSync(logFile, 'utf8'))), false);
  });

  it('ends with a command all that it has started, where that is wanted', async () => {
    const stop = new AbortController();
    const args = ['-c', 'sleep 1000 & echo $! >"$0"; wait', logFile];
    const running = tryRun('sh', args, { signal: stop.signal, whole: true });
    const written = () =>
      existsSync(logFile) ? /^(\d+)\n/.exec(readFileSync(logFile, 'utf8'))?.[1] : undefined;
    const sleeper = Number(
      await until(
        async () => written(),
        () => 'the command wrote nothing',
      ),
    );
    assert.equal(isAlive(sleeper), true);
    stop.abort();
    await assert.rejects(running, /aborted/);
    await until(
      async () => (isAlive(sleeper) ? undefined : true),
      () => 'it goes on',
    );
  });
});
