import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { configOrExit } from '../../../schemas/process/config-or-exit.ts';
import { shutDown, terminationSignal } from '../../../schemas/process/shutdown.ts';

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

describe('shutDown()', () => {
  it('closes in order, one after the other', async () => {
    const seen: string[] = [];
    const step = (name: string) => ({
      name,
      close: async () => {
        seen.push(`${name} begins`);
        await Promise.resolve();
        seen.push(`${name} ends`);
      },
    });
    assert.ok(await shutDown({ steps: [step('a'), step('b')], drainLimitMs: 1000, onError: assert.fail }));
    assert.deepEqual(seen, ['a begins', 'a ends', 'b begins', 'b ends']);
  });
  it('closes the rest when one fails, and says that it was not clean', async () => {
    const errors: string[] = [];
    let closed = false;
    const clean = await shutDown({
      steps: [
        { name: 'a', close: () => Promise.reject(new Error('x')) },
        {
          name: 'b',
          close: async () => {
            closed = true;
          },
        },
      ],
      drainLimitMs: 1000,
      onError: (step) => errors.push(step),
    });
    assert.deepEqual([clean, closed, errors], [false, true, ['a']]);
  });
  it('tells every step to cut after the limit, and says so', async () => {
    const steps = [
      { name: 'a', close: untilAborted },
      { name: 'b', close: async (cut: AbortSignal) => assert.ok(cut.aborted) },
    ];
    assert.equal(await shutDown({ steps, drainLimitMs: 10, onError: assert.fail }), false);
  });
});

describe('terminationSignal()', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`hears ${signal} once, and then leaves the signals alone`, async () => {
      const source = new EventEmitter();
      const heard = terminationSignal(source);
      source.emit(signal);
      assert.equal(await heard, signal);
      assert.deepEqual([source.listenerCount('SIGTERM'), source.listenerCount('SIGINT')], [0, 0]);
    });
  }
});

describe('configOrExit()', () => {
  class Exit extends Error {}
  function run(loaded: Parameters<typeof configOrExit<number>>[1]) {
    const seen = { stdout: '', stderr: '', code: -1 };
    const on = {
      stdout: { write: (text: string) => (seen.stdout += text) },
      stderr: { write: (text: string) => (seen.stderr += text) },
      exit: (code: number): never => {
        seen.code = code;
        throw new Exit();
      },
    };
    try {
      return { value: configOrExit('prog', loaded, on), ...seen };
    } catch (error) {
      if (!(error instanceof Exit)) throw error;
      return seen;
    }
  }
  it('gives the configuration', () => {
    assert.deepEqual(run({ kind: 'config', value: 5 }), { value: 5, stdout: '', stderr: '', code: -1 });
  });
  it('prints help and ends with 0', () => {
    assert.deepEqual(run({ kind: 'help', text: 'T' }), { stdout: 'T', stderr: '', code: 0 });
  });
  it('prints every fault and ends with 1', () => {
    const { stdout, stderr, code } = run({ kind: 'faults', faults: ['one', 'two'] });
    assert.deepEqual([stdout, code], ['', 1]);
    assert.match(stderr, /^prog: 2 faults in the configuration:\n {2}one\n {2}two\n/);
  });
});
