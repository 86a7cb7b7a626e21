import assert from 'node:assert/strict';
import { Circuit } from '../../../server/cache/circuit.ts';

describe('Circuit', () => {
  const build = () => {
    let nowMs = 0;
    const calls: string[] = [];
    const circuit = new Circuit({ failures: 2, openMs: 100, nowMs: () => nowMs });
    const run = (outcome: 'good' | 'bad') =>
      circuit.run(
        async () => {
          calls.push(outcome);
          if (outcome === 'bad') throw new Error('bad');
          return 'answer';
        },
        () => undefined,
      );
    return { circuit, calls, run, advance: (ms: number) => (nowMs += ms) };
  };

  it('opens after failures in a row only', async () => {
    const { circuit, run } = build();
    await run('bad');
    assert.equal(await run('good'), 'answer');
    await run('bad');
    assert.equal(circuit.open, false);
    await run('bad');
    assert.equal(circuit.open, true);
  });

  it('refuses without calling while it is open', async () => {
    const { calls, run, advance } = build();
    await run('bad');
    await run('bad');
    advance(99);
    assert.equal(await run('good'), undefined);
    assert.equal(calls.length, 2);
  });

  it('lets one through after the time, and closes when that goes well', async () => {
    const { circuit, calls, run, advance } = build();
    await run('bad');
    await run('bad');
    advance(100);
    const both = await Promise.all([run('good'), run('good')]);
    assert.deepEqual(both, ['answer', undefined]);
    assert.equal(calls.length, 3);
    assert.equal(circuit.open, false);
    assert.equal(await run('good'), 'answer');
  });

  it('opens again when the trial fails', async () => {
    const { calls, run, advance } = build();
    await run('bad');
    await run('bad');
    advance(100);
    await run('bad');
    advance(99);
    assert.equal(await run('good'), undefined);
    assert.equal(calls.length, 3);
    advance(1);
    assert.equal(await run('good'), 'answer');
  });
});
