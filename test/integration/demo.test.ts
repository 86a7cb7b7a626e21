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

const ROOT = resolve(import.meta.dirname, '../..');
const NODE = resolve(ROOT, 'bin/node');
const MAIN = resolve(ROOT, 'scripts/demo/main.ts');
const LIMIT_MS = 600_000;

/** A demo under way, and what it has printed. */
class Demo implements AsyncDisposable {
  readonly child: ChildProcess;
  printed = '';

  constructor(command: readonly [string, ...string[]] = [NODE, MAIN], env: NodeJS.ProcessEnv = {}) {
    const [program, ...args] = command;
    this.child = spawn(program, args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, RTT: '', RATE: '', ...env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.printed += data.toString();
      });
    }
  }

  /** Named by the process itself, which is the child of make where that has started it. */
  get directory(): string {
    const { pid, spawnfile } = this.child;
    if (spawnfile === NODE) return `/tmp/sl-demo-${pid}`;
    const children = readIfThere(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean);
    const main = children.find((child) => commandOf(Number(child)).includes('demo/main.ts'));
    this.#directory ??= main === undefined ? undefined : `/tmp/sl-demo-${main}`;
    return this.#directory ?? '/tmp/sl-demo-';
  }

  #directory: string | undefined;

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

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.end('SIGTERM');
  }

  async assertNothingLeft(): Promise<void> {
    assert.deepEqual((await processesOf(this.directory)).map(commandOf), []);
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(`${this.directory}/`), 'mounts');
    assert.ok(!existsSync(this.directory), this.directory);
  }
}

function commandOf(pid: number): string {
  return readIfThere(`/proc/${pid}/cmdline`);
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** Network namespaces of links whose process is gone. */
function staleNamespaces(): string[] {
  const names = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return names.filter((name) => /^sl-\w+-\d+$/.test(name) && !existsSync(`/proc/${name.split('-').at(-1)}`));
}

describe('make demo', function () {
  this.timeout(3 * LIMIT_MS);

  it('names every fault of its variables, and ends with 1', async () => {
    const demo = new Demo([NODE, MAIN], { RTT: 'fast', RATE: '-1' });
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
      await using killed = new Demo();
      await killed.container();
      assert.equal(await killed.end('SIGKILL'), 'SIGKILL');
      assert.ok(existsSync(killed.directory));

      await using next = new Demo(['make', 'demo']);
      await next.container();
      assert.ok(next.printed.includes(`removed ${killed.directory}, left by a killed run`), next.printed);
      await killed.assertNothingLeft();

      assert.equal(await next.end('SIGTERM'), 'SIGTERM', 'make dies of it, after its child');
      assert.match(next.printed, /demo: interrupted; cleaning up\ndemo: cleaned up\n/);
      await next.assertNothingLeft();
      assert.deepEqual(staleNamespaces(), []);
    });
  });
});
