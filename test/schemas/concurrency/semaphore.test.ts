import assert from 'node:assert/strict';
import { Semaphore } from '../../../schemas/concurrency/semaphore.ts';

const never = new AbortController().signal;

/** Tasks that say when they begin, and end when told. */
class Stage {
  readonly begun: string[] = [];
  readonly semaphore: Semaphore;
  readonly #tasks = new Map<string, PromiseWithResolvers<string>>();

  constructor(count: number) {
    this.semaphore = new Semaphore(count);
  }

  start(name: string, signal = never): Promise<string> {
    const task = Promise.withResolvers<string>();
    this.#tasks.set(name, task);
    return this.semaphore.run(() => {
      this.begun.push(name);
      return task.promise;
    }, signal);
  }

  end(name: string): void {
    this.#tasks.get(name)?.resolve(name);
  }

  fail(name: string): void {
    this.#tasks.get(name)?.reject(new Error(name));
  }
}

describe('Semaphore', () => {
  it('runs so many at once, the others in the order in which they came', async () => {
    const stage = new Stage(2);
    const tasks = ['a', 'b', 'c', 'd'].map((name) => stage.start(name));
    assert.deepEqual(stage.begun, ['a', 'b']);
    stage.end('b');
    await tasks[1];
    assert.deepEqual(stage.begun, ['a', 'b', 'c']);
    for (const name of ['a', 'c', 'd']) stage.end(name);
    assert.deepEqual(await Promise.all(tasks), ['a', 'b', 'c', 'd']);
  });

  it('gives the place on after a task that failed, and passes the failure', async () => {
    const stage = new Stage(1);
    const failing = stage.start('a');
    const next = stage.start('b');
    stage.fail('a');
    await assert.rejects(failing, /^Error: a$/);
    stage.end('b');
    assert.equal(await next, 'b');
  });

  it('does not begin what was aborted while it waited, and lets the next one in', async () => {
    const stage = new Stage(1);
    const leaving = new AbortController();
    const first = stage.start('a');
    const aborted = stage.start('b', leaving.signal);
    const last = stage.start('c');
    leaving.abort(new Error('enough'));
    await assert.rejects(aborted, /enough/);
    for (const name of ['a', 'c']) stage.end(name);
    await Promise.all([first, last]);
    assert.deepEqual(stage.begun, ['a', 'c']);
  });

  it('lets a task that has begun go on when its signal is aborted', async () => {
    const stage = new Stage(1);
    const leaving = new AbortController();
    const first = stage.start('a', leaving.signal);
    leaving.abort();
    stage.end('a');
    assert.equal(await first, 'a');
  });

  it('does not begin what was aborted before, and takes no place for it', async () => {
    const stage = new Stage(1);
    await assert.rejects(stage.start('a', AbortSignal.abort(new Error('enough'))), /enough/);
    const next = stage.start('b');
    stage.end('b');
    await next;
    assert.deepEqual(stage.begun, ['b']);
  });
});
