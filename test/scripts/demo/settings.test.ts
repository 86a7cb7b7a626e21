import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { demoSettings } from '../../../scripts/demo/settings.ts';

type Env = Readonly<Record<string, string>>;

describe('demoSettings()', () => {
  const GOOD: readonly (readonly [Env, rttMs: number, rateMbit: number])[] = [
    [{}, 100, 50],
    [{ RTT: '', RATE: '' }, 100, 50],
    [{ RTT: '300', RATE: '20' }, 300, 20],
    [{ RTT: '0', RATE: '0' }, 0, 0],
    [{ RTT: '0.5', RATE: '2.5' }, 0.5, 2.5],
  ];
  for (const [env, rttMs, rateMbit] of GOOD) {
    it(`takes ${JSON.stringify(env)}`, () =>
      assert.deepEqual(demoSettings(env), { settings: { rttMs, rateMbit } }));
  }

  const BAD: readonly (readonly [Env, ...faults: RegExp[]])[] = [
    [{ RTT: 'abc' }, /^RTT=abc: expected a number from 0 to 10000 \(round trip in ms\)$/],
    [{ RTT: '-1' }, /^RTT=-1: /],
    [{ RTT: '1e3' }, /^RTT=1e3: /],
    [{ RTT: '0x10' }, /^RTT=0x10: /],
    [{ RTT: ' 5' }, /^RTT= 5: /],
    [{ RTT: '100ms' }, /^RTT=100ms: /],
    [{ RTT: '10001' }, /^RTT=10001: /],
    [{ RTT: 'Infinity' }, /^RTT=Infinity: /],
    [{ RATE: '20mbit' }, /^RATE=20mbit: expected .*Mbit\/s/],
    [{ RTT: 'x', RATE: 'y' }, /^RTT=x: /, /^RATE=y: /],
  ];
  for (const [env, ...patterns] of BAD) {
    it(`refuses ${JSON.stringify(env)}`, () => {
      const read = demoSettings(env);
      const faults = 'faults' in read ? read.faults : [];
      assert.equal(faults.length, patterns.length, faults.join());
      for (const [at, pattern] of patterns.entries()) assert.match(faults[at] ?? '', pattern);
    });
  }
});
