import assert from 'node:assert/strict';
import { KeyLock } from '../../../schemas/concurrency/key-lock.ts';

describe('KeyLock', () => {
  /** Tasks that say when they begin and end, and end when told. */
  class Stage {
    readonly events: string[] = [];
    readonly lock = new KeyLock();
    readonly #ends = new Map<string, () => void>();

    start(name: string, keys: readonly string[]): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#ends.set(name, resolve);
      return this.lock.run(keys, async () => {
        this.events.push(`+${name}`);
        await promise;
        this.events.push(`-${name}`);
      });
    }

    end(name: string): void {
      this.#ends.get(name)?.();
    }
  }

  it('runs tasks of one key in their order', async () => {
    const stage = new Stage();
    const tasks = [stage.start('a', ['k']), stage.start('b', ['k']), stage.start('c', ['k'])];
    for (const name of ['c', 'b', 'a']) stage.end(name);
    await Promise.all(tasks);
    assert.deepEqual(stage.events, ['+a', '-a', '+b', '-b', '+c', '-c']);
  });

  it('runs tasks of different keys side by side', async () => {
    const stage = new Stage();
    const first = stage.start('a', ['k']);
    const second = stage.start('b', ['l']);
    stage.end('b');
    await second;
    stage.end('a');
    await first;
    assert.deepEqual(stage.events, ['+a', '+b', '-b', '-a']);
  });

  it('does not lock up when two tasks want the same keys in different orders', async () => {
    const stage = new Stage();
    const tasks = [stage.start('a', ['k', 'l']), stage.start('b', ['l', 'k']), stage.start('c', ['k', 'k'])];
    for (const name of ['a', 'b', 'c']) stage.end(name);
    await Promise.all(tasks);
    assert.deepEqual(stage.events, ['+a', '-a', '+b', '-b', '+c', '-c']);
  });

  it('goes on after a task that failed, and passes the failure', async () => {
    const lock = new KeyLock();
    const failing = lock.run(['k'], async () => {
      throw new Error('refused');
    });
    const next = lock.run(['k'], async () => 'done');
    await assert.rejects(failing, /refused/);
    assert.equal(await next, 'done');
  });

  it('is settled when the last has ended', async () => {
    const stage = new Stage();
    const tasks = [stage.start('a', ['k']), stage.start('b', ['k'])];
    const settled = stage.lock.settled().then(() => stage.events.push('settled'));
    stage.end('a');
    stage.end('b');
    await Promise.all([...tasks, settled]);
    assert.equal(stage.events.at(-1), 'settled');
    await stage.lock.settled();
  });
});
