import assert from 'node:assert/strict';
import { SingleFlight } from '../../../schemas/concurrency/single-flight.ts';

const SIGNAL = new AbortController().signal;

describe('SingleFlight', () => {
  it('does the work once for all who ask while it is under way, and anew after', async () => {
    const flights = new SingleFlight<number>();
    let runs = 0;
    const work = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return ++runs;
    };
    const answers = await Promise.all([1, 2, 3].map(() => flights.run('a', work, SIGNAL)));
    assert.deepEqual(answers, [1, 1, 1]);
    assert.equal(await flights.run('a', work, SIGNAL), 2);
    assert.equal(flights.size, 0);
  });

  it('keeps keys apart', async () => {
    const flights = new SingleFlight<string>();
    const answers = await Promise.all(['a', 'b'].map((key) => flights.run(key, async () => key, SIGNAL)));
    assert.deepEqual(answers, ['a', 'b']);
  });

  it('hands a failure to all who wait and forgets it', async () => {
    const flights = new SingleFlight<number>();
    const fail = () => Promise.reject(new Error('no'));
    const waiting = [flights.run('a', fail, SIGNAL), flights.run('a', fail, SIGNAL)];
    for (const promise of waiting) await assert.rejects(promise, /no/);
    assert.equal(await flights.run('a', async () => 1, SIGNAL), 1);
  });

  it('hands on what work throws at once', async () => {
    const flights = new SingleFlight<number>();
    const fail = () => {
      throw new Error('at once');
    };
    await assert.rejects(flights.run('a', fail, SIGNAL), /at once/);
    assert.equal(flights.size, 0);
  });

  it('aborts the work when the last has left, and starts anew for who comes then', async () => {
    const flights = new SingleFlight<number>();
    const callers = [new AbortController(), new AbortController()];
    let shared: AbortSignal | undefined;
    const work = (signal: AbortSignal) => {
      shared = signal;
      return new Promise<number>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    };
    const waiting = callers.map(({ signal }) => flights.run('a', work, signal));
    const ends = waiting.map((promise) => assert.rejects(promise, { name: 'AbortError' }));
    callers[0]?.abort();
    await ends[0];
    assert.equal(shared?.aborted, false);
    callers[1]?.abort();
    await ends[1];
    assert.equal(shared?.aborted, true);
    assert.equal(await flights.run('a', async () => 7, SIGNAL), 7);
  });

  it('goes on for one who joins before the last has left', async () => {
    const flights = new SingleFlight<number>();
    const caller = new AbortController();
    let finish: (value: number) => void = () => undefined;
    const work = () =>
      new Promise<number>((resolve) => {
        finish = resolve;
      });
    const first = assert.rejects(flights.run('a', work, caller.signal), { name: 'AbortError' });
    caller.abort();
    const second = flights.run('a', async () => -1, SIGNAL);
    await first;
    finish(3);
    assert.equal(await second, 3);
  });

  it('does not start for a caller who has left', async () => {
    const flights = new SingleFlight<number>();
    let ran = false;
    const work = async () => {
      ran = true;
      return 1;
    };
    await assert.rejects(flights.run('a', work, AbortSignal.abort()), { name: 'AbortError' });
    assert.equal(ran, false);
  });
});
