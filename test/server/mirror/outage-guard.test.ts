import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'mocha';
import { mirrorCounters } from '../../../server/mirror/counters.ts';
import { OutageGuard } from '../../../server/mirror/outage-guard.ts';
import type { HeaderList, RegistryAnswer, RegistryRequest } from '../../../server/registry/registry.ts';
import { RegistryError, type RegistryFault } from '../../../server/registry/registry-error.ts';

type Reply = number | RegistryFault['kind'] | 'left';

/** A guard over a registry that does what it is told, by a clock that is told too. */
class Guarded {
  readonly counters = mirrorCounters();
  readonly log: string[] = [];
  asked = 0;
  nowMs = 1_000_000;
  reply: Reply = 200;
  headers: HeaderList = [];
  readonly #guard: OutageGuard;

  constructor() {
    this.#guard = new OutageGuard({
      registry: { answer: () => this.#answer() },
      config: { circuitFailures: 3, circuitOpenMs: 1000 },
      upstream: 'registry.test',
      key: Buffer.alloc(32),
      counters: this.counters,
      log: { warn: (_, message) => this.log.push(message) },
      nowMs: () => this.nowMs,
    });
  }

  async #answer(): Promise<RegistryAnswer> {
    this.asked += 1;
    if (typeof this.reply === 'number') return { status: this.reply, headers: this.headers };
    if (this.reply === 'left') throw new DOMException('gone', 'AbortError');
    // The kinds used here have no more to them.
    throw new RegistryError({ kind: this.reply } as RegistryFault);
  }

  /** The status, or the kind of what was thrown and after how many seconds to come back. */
  async ask(caller = 'a'): Promise<number | string> {
    const request: RegistryRequest = {
      endpoint: { kind: 'base' },
      method: 'GET',
      query: new URLSearchParams(),
      rawQuery: '',
      headers: {},
      rawHeaders: ['Authorization', caller],
      body: Readable.from([]),
      signal: new AbortController().signal,
    };
    try {
      return (await this.#guard.answer(request)).status;
    } catch (error) {
      if (!(error instanceof RegistryError)) return 'other';
      const { fault } = error;
      return fault.kind === 'upstream-withheld'
        ? `${fault.status} in ${fault.retryAfterSeconds}`
        : fault.kind;
    }
  }
}

describe('OutageGuard, circuit', () => {
  const FAILURES: readonly (readonly [Reply, boolean])[] = [
    ['upstream-unreachable', true],
    ['upstream-timeout', true],
    [502, true],
    [503, true],
    [504, true],
    [500, false],
    [404, false],
    [401, false],
    [429, false],
    ['upstream-protocol', false],
    ['left', false],
  ];
  for (const [reply, opens] of FAILURES) {
    it(`${opens ? 'opens' : 'stays closed'} after three times ${reply}`, async () => {
      const guarded = new Guarded();
      guarded.reply = reply;
      for (let count = 0; count < 3; count += 1) await guarded.ask();
      guarded.reply = 200;
      assert.equal(await guarded.ask(), opens ? '503 in 1' : 200);
      assert.equal(guarded.asked, opens ? 3 : 4);
      assert.equal(guarded.counters.opened, opens ? 1 : 0);
      assert.equal(guarded.counters.withheld, opens ? 1 : 0);
      assert.equal(guarded.log.length, opens ? 1 : 0);
    });
  }

  it('does not open where an answer comes between', async () => {
    const guarded = new Guarded();
    for (const reply of [502, 502, 404, 502, 502] as const) {
      guarded.reply = reply;
      await guarded.ask();
    }
    assert.equal(await guarded.ask(), 502);
  });

  it('lets one try when the time is over: its failure opens again, its success closes', async () => {
    const guarded = new Guarded();
    guarded.reply = 'upstream-timeout';
    for (let count = 0; count < 3; count += 1) await guarded.ask();
    guarded.nowMs += 1000;
    assert.deepEqual(await Promise.all([guarded.ask(), guarded.ask()]), ['upstream-timeout', '503 in 1']);
    guarded.nowMs += 999;
    assert.equal(await guarded.ask(), '503 in 1');
    guarded.nowMs += 1;
    guarded.reply = 200;
    assert.deepEqual(await Promise.all([guarded.ask(), guarded.ask()]), [200, '503 in 1']);
    assert.equal(await guarded.ask(), 200);
  });

  it('lets another try where the one that tried left', async () => {
    const guarded = new Guarded();
    guarded.reply = 502;
    for (let count = 0; count < 3; count += 1) await guarded.ask();
    guarded.nowMs += 1000;
    guarded.reply = 'left';
    assert.equal(await guarded.ask(), 'other');
    guarded.reply = 200;
    assert.equal(await guarded.ask(), 200);
  });
});

describe('OutageGuard, Retry-After', () => {
  const ROWS: readonly (readonly [
    status: number,
    header: string | undefined,
    same: string | number,
    other: string | number,
  ])[] = [
    [429, '7', '429 in 7', 200],
    [429, new Date(1_009_000).toUTCString(), '429 in 9', 200],
    [429, '99999999', '429 in 3600', 200],
    [429, '0', 200, 200],
    [429, 'soon', 200, 200],
    [429, undefined, 200, 200],
    [503, '7', '503 in 7', '503 in 7'],
    [500, '7', 200, 200],
    [200, '7', 200, 200],
  ];
  for (const [status, header, same, other] of ROWS) {
    it(`after ${status} with ${header} answers the same caller ${same} and another ${other}`, async () => {
      const guarded = new Guarded();
      guarded.reply = status;
      guarded.headers = header === undefined ? [] : [['Retry-After', header]];
      await guarded.ask('a');
      guarded.reply = 200;
      guarded.headers = [];
      assert.equal(await guarded.ask('a'), same);
      assert.equal(await guarded.ask('b'), other);
      guarded.nowMs += 3_600_000;
      assert.equal(await guarded.ask('a'), 200);
    });
  }
});
