import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { before, describe, it } from 'mocha';
import { demoImages } from '../../scripts/demo/images.ts';
import { processesOf } from '../../scripts/demo/leftovers.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { until } from '../support/until.ts';

const NODE = resolve(import.meta.dirname, '../../bin/node');
const MAIN = resolve(import.meta.dirname, '../../scripts/demo/main.ts');
const LIMIT_MS = 600_000;

/** A demo under way, and what it has printed. */
class Demo {
  readonly child: ChildProcess;
  readonly directory: string;
  printed = '';

  constructor(env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(NODE, [MAIN], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, RTT: '', RATE: '', ...env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.printed += data.toString();
      });
    }
    this.directory = `/tmp/sl-demo-${this.child.pid}`;
  }

  /** Sends a signal; the exit code, or the signal that it died of. */
  async end(signal: NodeJS.Signals): Promise<number | string> {
    const ended = once(this.child, 'close');
    this.child.kill(signal);
    const [code, died] = await ended;
    return code ?? died;
  }

  /** The process of a container that has come up. */
  async container(): Promise<number> {
    const isRedis = (pid: number) => /^redis-server/.test(commandOf(pid));
    return await until(
      async () => {
        if (this.child.exitCode !== null) throw new Error(this.printed);
        return (await processesOf(this.directory)).find(isRedis);
      },
      () => `no container came up:\n${this.printed}`,
      LIMIT_MS,
    );
  }

  async assertNothingLeft(): Promise<void> {
    assert.deepEqual((await processesOf(this.directory)).map(commandOf), []);
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(`${this.directory}/`), 'mounts');
    assert.ok(!existsSync(this.directory), this.directory);
  }
}

function commandOf(pid: number): string {
  return existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
}

/** Network namespaces of links whose process is gone. */
function staleNamespaces(): string[] {
  const names = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return names.filter((name) => /^sl-\w+-\d+$/.test(name) && !existsSync(`/proc/${name.split('-').at(-1)}`));
}

describe('make demo', function () {
  this.timeout(3 * LIMIT_MS);

  it('names every fault of its variables, and ends with 1', async () => {
    const demo = new Demo({ RTT: 'fast', RATE: '-1' });
    const [code] = await once(demo.child, 'close');
    assert.equal(code, 1);
    assert.match(demo.printed, /^demo: RTT=fast: expected .*\ndemo: RATE=-1: expected .*\n$/);
    await demo.assertNothingLeft();
  });

  describe('as root', () => {
    before(async function () {
      const fault = machineFault();
      if (fault !== undefined) skip(this, fault);
      await demoImages(AbortSignal.timeout(LIMIT_MS));
    });

    it('takes away what a killed run left; interrupted with a container running, it leaves nothing', async () => {
      const killed = new Demo();
      await killed.container();
      assert.equal(await killed.end('SIGKILL'), 'SIGKILL');
      assert.ok(existsSync(killed.directory));

      const next = new Demo();
      await next.container();
      assert.ok(next.printed.includes(`removed ${killed.directory}, left by a killed run`), next.printed);
      await killed.assertNothingLeft();

      assert.equal(await next.end('SIGTERM'), 130);
      assert.match(next.printed, /demo: interrupted; cleaning up\ndemo: cleaned up\n$/);
      await next.assertNothingLeft();
      assert.deepEqual(staleNamespaces(), []);
    });
  });
});
