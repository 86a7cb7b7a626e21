import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { RegistryError } from '../../../server/registry/registry-error.ts';
import { Turnstile, type TurnstileOptions } from '../../../server/upstream/turnstile.ts';

const signal = new AbortController().signal;
const make = (options: Partial<TurnstileOptions> = {}): Turnstile =>
  new Turnstile({ atOnce: 2, perSecond: 0, waitLimitMs: 60_000, nowMs: () => performance.now(), ...options });
const isBusy = (error: unknown) => error instanceof RegistryError && error.fault.kind === 'upstream-busy';

describe('Turnstile', () => {
  it('lets so many in at once, the others in their order as those leave', async () => {
    const turnstile = make();
    const leave = [await turnstile.enter(signal), await turnstile.enter(signal)];
    const entered: number[] = [];
    const later = [0, 1, 2].map(async (n) => {
      leave.push(await turnstile.enter(signal));
      entered.push(n);
    });
    await turn();
    assert.deepEqual(entered, []);
    leave[0]?.();
    leave[0]?.(); // the second call lets nobody else in
    await later[0];
    await turn();
    assert.deepEqual(entered, [0]);
    leave[1]?.();
    await later[1];
    leave[2]?.();
    await later[2];
    assert.deepEqual(entered, [0, 1, 2]);
  });

  it('sends away who has waited too long, and goes on', async () => {
    const turnstile = make({ atOnce: 1, waitLimitMs: 5 });
    const leave = await turnstile.enter(signal);
    await assert.rejects(turnstile.enter(signal), isBusy);
    leave();
    (await turnstile.enter(signal))();
  });

  it('lets nobody wait where too many do already', async () => {
    const turnstile = make({ atOnce: 1 });
    await turnstile.enter(signal);
    const controller = new AbortController();
    const waiting = Array.from({ length: 1024 }, () => turnstile.enter(controller.signal));
    await assert.rejects(turnstile.enter(signal), isBusy);
    controller.abort(new Error('enough'));
    for (const one of waiting) await assert.rejects(one, /enough/);
  });

  it('forgets a waiter whose signal is aborted', async () => {
    const turnstile = make({ atOnce: 1 });
    const leave = await turnstile.enter(signal);
    const controller = new AbortController();
    const gone = turnstile.enter(controller.signal);
    const next = turnstile.enter(signal);
    controller.abort(new Error('gone'));
    await assert.rejects(gone, /gone/);
    leave();
    (await next)();
  });

  it('lets in at the rate, by the clock and without saving up', async () => {
    let nowMs = 10_000;
    const turnstile = make({ atOnce: 100, perSecond: 10, waitLimitMs: 3, nowMs: () => nowMs });
    await turnstile.enter(signal);
    await assert.rejects(turnstile.enter(signal), isBusy);
    nowMs += 99;
    await assert.rejects(turnstile.enter(signal), isBusy);
    nowMs += 1;
    await turnstile.enter(signal);
    nowMs += 10_000;
    await turnstile.enter(signal);
    await assert.rejects(turnstile.enter(signal), isBusy);
  });

  it('comes back by itself for who waits for the rate', async () => {
    const turnstile = make({ perSecond: 200 });
    const beganMs = performance.now();
    for (let n = 0; n < 5; n += 1) (await turnstile.enter(signal))();
    assert.ok(performance.now() - beganMs >= 19, 'four pauses of 5 ms');
  });
});
