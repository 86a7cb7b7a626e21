import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Control, parseSettings } from '../../../../scripts/demo/wan/control.ts';
import {
  type Link,
  type LinkSettings,
  type LinkStats,
  queueBytes,
  rateBytesPerMs,
} from '../../../../scripts/demo/wan/link.ts';
import { netemArguments } from '../../../../scripts/demo/wan/netem-link.ts';

const SETTINGS: LinkSettings = { rttMs: 100, rateMbit: 100, cut: false };

describe('queueBytes()', () => {
  it('is the product of bandwidth and delay', () => assert.equal(queueBytes(SETTINGS), 1_250_000));
  it('is 256 KiB at least', () => assert.equal(queueBytes({ ...SETTINGS, rttMs: 1 }), 262_144));
  it('is of use without a rate', () => assert.equal(queueBytes({ ...SETTINGS, rateMbit: 0 }), 262_144));
});

describe('rateBytesPerMs()', () => {
  it('converts', () => assert.equal(rateBytesPerMs(SETTINGS), 12_500));
});

describe('netemArguments()', () => {
  it('delays by half the round trip each way', () => {
    // 1,250,000 bytes of queue and 625,000 on the line, in packets of 1,500
    assert.deepEqual(netemArguments(SETTINGS), [
      'netem',
      'limit',
      '1250',
      'delay',
      '50ms',
      'rate',
      '100mbit',
    ]);
  });
  it('names no rate where there is none, and loses all of a cut line', () => {
    const args = netemArguments({ rttMs: 1, rateMbit: 0, cut: true });
    assert.deepEqual(args, ['netem', 'limit', '175', 'delay', '0.5ms', 'loss', '100%']);
  });
});

const GOOD: readonly (readonly [words: readonly string[], changes: Partial<LinkSettings>])[] = [
  [[], {}],
  [['rtt=50'], { rttMs: 50 }],
  [['rate=0'], { rateMbit: 0 }],
  [['rate=2.5', 'rtt=0.15'], { rttMs: 0.15, rateMbit: 2.5 }],
];
const BAD: readonly string[] = [
  'rtt',
  'rtt=',
  'rtt=-1',
  'rtt=1e3',
  'rtt=50ms',
  'rate=Infinity',
  'rate=0x10',
  'loss=1',
  'cut=1',
];

describe('parseSettings()', () => {
  for (const [words, changes] of GOOD) {
    it(`takes ${JSON.stringify(words)}`, () => {
      assert.deepEqual(parseSettings(words, SETTINGS), { ...SETTINGS, ...changes });
    });
  }
  for (const word of BAD) {
    it(`refuses ${word}`, () => assert.throws(() => parseSettings(['rtt=1', word], SETTINGS), RangeError));
  }
});

describe('Control', () => {
  const made = () => {
    const applied: LinkSettings[] = [];
    let reading = 0;
    const link: Link = {
      driver: 'tun',
      async stats(): Promise<LinkStats> {
        reading++;
        return {
          down: { packets: reading * 10, bytes: reading * 1000, drops: reading },
          up: { packets: reading, bytes: reading * 100, drops: 0 },
        };
      },
      async apply(settings) {
        applied.push(settings);
      },
      async [Symbol.asyncDispose]() {},
    };
    return { control: new Control(link, SETTINGS), applied };
  };

  it('answers the counters, from the last reset on', async () => {
    const { control } = made();
    const first = { down: { packets: 10, bytes: 1000, drops: 1 }, up: { packets: 1, bytes: 100, drops: 0 } };
    assert.deepEqual(await control.answer('reset'), { driver: 'tun', ...SETTINGS, ...first });
    assert.deepEqual(await control.answer('stats'), { driver: 'tun', ...SETTINGS, ...first });
  });

  it('applies what is set, and keeps the rest', async () => {
    const { control, applied } = made();
    for (const request of ['set rtt=20', 'cut', 'set rate=5', 'join']) await control.answer(request);
    assert.deepEqual(applied, [
      { rttMs: 20, rateMbit: 100, cut: false },
      { rttMs: 20, rateMbit: 100, cut: true },
      { rttMs: 20, rateMbit: 5, cut: true },
      { rttMs: 20, rateMbit: 5, cut: false },
    ]);
  });

  for (const request of ['', 'stat', 'STATS', 'set rtt=x', 'up']) {
    it(`refuses ${JSON.stringify(request)} and applies nothing`, async () => {
      const { control, applied } = made();
      await assert.rejects(control.answer(request), RangeError);
      assert.deepEqual(applied, []);
    });
  }
});
