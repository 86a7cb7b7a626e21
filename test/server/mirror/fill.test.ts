import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { Front } from './front.ts';
import { pattern } from './origin.ts';

const MIB = 1 << 20;

/** Answers as far as it is let: half of what is asked for, and then nothing until the end of the test. */
function stalling(front: Front, bytes: Buffer, sent: number): { readonly open: ServerResponse[] } {
  const open: ServerResponse[] = [];
  front.origin.twist = (request, response) => {
    if (request.method !== 'GET' || request.headers.range !== undefined) return undefined;
    open.push(response);
    response.writeHead(200, { 'Content-Length': bytes.length });
    response.write(bytes.subarray(0, sent));
    return 'taken';
  };
  return { open };
}

async function readFrom(front: Front, path: string, count: number): Promise<AbortController> {
  const leaver = new AbortController();
  const response = await fetch(`${front.url}/v2/${path}`, { signal: leaver.signal });
  const reader = response.body?.getReader();
  for (let seen = 0; seen < count; ) {
    const next = await reader?.read();
    assert.equal(next?.done, false);
    seen += next?.value?.length ?? 0;
  }
  return leaver;
}

describe('Fill', function () {
  this.timeout(60_000);

  it('gives a reader far ahead a request of its own, and lets nothing come twice', async () => {
    await using front = await Front.start();
    const bytes = pattern(44 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const { open } = stalling(front, bytes, 2 * MIB);
    const leaver = await readFrom(front, `a/blobs/${digest}`, MIB);
    const range = { Range: `bytes=${14 * MIB}-${14 * MIB + 99}` };
    const part = await front.bytes(`a/blobs/${digest}`, range);
    assert.ok(part.equals(bytes.subarray(14 * MIB, 14 * MIB + 100)));
    // The first request goes on to where the second began, and is then let go of.
    const closed = once(open[0] as ServerResponse, 'close');
    open[0]?.write(bytes.subarray(2 * MIB, 18 * MIB));
    await closed;
    leaver.abort();
    assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
    const ranges = front.origin.asked.map((one) => one.range).filter((one) => one !== undefined);
    assert.equal(ranges.length, 2);
    assert.ok(ranges[0]?.startsWith(`bytes=${14 * MIB}-`));
    const afterSecond = Number(ranges[0]?.split('-')[1]) + 1;
    assert.equal(ranges[1], `bytes=${afterSecond}-${44 * MIB - 1}`);
  });

  it('does not shorten a request of which little is missing', async () => {
    await using front = await Front.start();
    const bytes = pattern(22 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const { open } = stalling(front, bytes, 2 * MIB);
    const leaver = await readFrom(front, `a/blobs/${digest}`, MIB);
    const range = { Range: `bytes=${14 * MIB}-${14 * MIB + 99}` };
    const part = front.bytes(`a/blobs/${digest}`, range);
    open[0]?.end(bytes.subarray(2 * MIB));
    assert.ok((await part).equals(bytes.subarray(14 * MIB, 14 * MIB + 100)));
    leaver.abort();
    assert.equal(front.origin.count(digest, 'GET'), 1);
  });

  it('ends a request that nobody reads any more, and goes on later from what has come', async () => {
    await using front = await Front.start();
    const bytes = pattern(22 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const { open } = stalling(front, bytes, 3 * MIB + 5);
    const leaver = await readFrom(front, `a/blobs/${digest}`, 3 * MIB);
    const closed = once(open[0] as ServerResponse, 'close');
    leaver.abort();
    await closed;
    assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
    assert.deepEqual(
      front.origin.asked.map((one) => one.range),
      [undefined, `bytes=${3 * MIB}-${22 * MIB - 1}`],
    );
  });

  it('finishes a request that nobody reads any more when little is missing', async () => {
    await using front = await Front.start();
    const bytes = pattern(8 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const { open } = stalling(front, bytes, MIB);
    const leaver = await readFrom(front, `a/blobs/${digest}`, 1000);
    leaver.abort();
    open[0]?.end(bytes.subarray(MIB));
    const [store = ''] = (await readdir(front.dir)).filter((name) => name !== 'lock');
    while (!(await readdir(join(front.dir, store))).includes('sha256')) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
    assert.equal(front.origin.count(digest), 1);
  });

  it('fills two at once, each with its own bytes', async () => {
    await using front = await Front.start();
    const all = [pattern(3 * MIB, 1), pattern(4 * MIB, 2)];
    const digests = all.map((bytes) => front.origin.addBlob('a', bytes));
    const gate = Promise.withResolvers<void>();
    front.origin.gate = gate.promise;
    const responses = await Promise.all(
      digests.flatMap((one) => [front.get(`a/blobs/${one}`), front.get(`a/blobs/${one}`)]),
    );
    gate.resolve();
    for (const [at, response] of responses.entries()) {
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(all[at >> 1] as Buffer));
    }
    assert.equal(front.origin.asked.length, 2);
  });

  it('is not evicted while it is read: what has no room beside it is passed through', async () => {
    await using front = await Front.start({ mirror: { maxBytes: 4 * MIB } });
    const first = pattern(3 * MIB, 1);
    const second = pattern(2 * MIB, 2);
    const digests = [first, second].map((bytes) => front.origin.addBlob('a', bytes));
    const gate = Promise.withResolvers<void>();
    front.origin.gate = gate.promise;
    const reading = await front.get(`a/blobs/${digests[0]}`);
    front.origin.gate = undefined;
    assert.ok((await front.bytes(`a/blobs/${digests[1]}`)).equals(second));
    gate.resolve();
    assert.ok(Buffer.from(await reading.arrayBuffer()).equals(first));
    assert.deepEqual([front.mirrors.counters.passed, front.mirrors.counters.evicted], [1, 0]);
  });

  it('lets the others ask for themselves when the upstream refuses the one who asked for all', async () => {
    await using front = await Front.start();
    const bytes = pattern(4 * MIB);
    const digest = front.origin.addBlob('a', bytes);
    const users = ['Bearer one', 'Bearer two'] as const;
    for (const Authorization of users) await front.get(`a/blobs/${digest}`, { Authorization }, 'HEAD');
    const held = Promise.withResolvers<void>();
    front.origin.twist = (request, response) => {
      if (request.headers.authorization !== users[0]) return undefined;
      void held.promise.then(() => response.writeHead(401, { 'Content-Length': '0' }).end());
      return 'taken';
    };
    const Range = 'bytes=0-9';
    const one = front.get(`a/blobs/${digest}`, { Authorization: users[0], Range });
    while (front.origin.count(digest, 'GET') === 0) await new Promise((resolve) => setImmediate(resolve));
    const two = front.bytes(`a/blobs/${digest}`, { Authorization: users[1], Range });
    held.resolve();
    assert.equal((await one).status, 401);
    assert.ok((await two).equals(bytes.subarray(0, 10)));
  });

  it('serves ranges of an upstream that has none', async () => {
    await using front = await Front.start();
    const bytes = pattern(4 * MIB + 9);
    const digest = front.origin.addBlob('a', bytes);
    front.origin.twist = (request) => {
      delete request.headers.range;
      return undefined;
    };
    for (const start of [3 * MIB + 5, 100, 2 * MIB - 50]) {
      const part = await front.bytes(`a/blobs/${digest}`, { Range: `bytes=${start}-${start + 99}` });
      assert.ok(part.equals(bytes.subarray(start, start + 100)));
    }
    assert.ok((await front.bytes(`a/blobs/${digest}`)).equals(bytes));
  });
});
