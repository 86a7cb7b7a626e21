import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { createApp } from '../../../server/app.ts';
import { type HttpServer, listen } from '../../../server/http-server.ts';
import { DEFAULT_LIMITS, type LimitsConfig } from '../../../server/limits/config.ts';
import { limitRequests } from '../../../server/limits/limit-requests.ts';
import type { Registry } from '../../../server/registry/registry.ts';
import { exchange, openSocket, rawCall, readToEnd } from '../../support/raw-http.ts';
import { healthy } from '../../support/healthy.ts';

/** Reads what is sent to it; a blob is endless. */
const registry: Registry = {
  answer: async (request) => {
    for await (const _ of request.body) request.signal.throwIfAborted();
    if (request.endpoint.kind !== 'blob') return { status: 200, headers: [] };
    return { status: 200, headers: [], body: Readable.from(endless()) };
  },
};

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield Buffer.alloc(64 << 10);
}

describe('a proxy that is abused', () => {
  let server: HttpServer;
  let nowMs: number;
  let slow: number;
  afterEach(() => server.close(AbortSignal.abort()));

  async function start(limits: Partial<LimitsConfig>): Promise<number> {
    nowMs = 0;
    slow = 0;
    const all = { ...DEFAULT_LIMITS, ...limits };
    const app = createApp({
      registry,
      distribution: {},
      routes: [limitRequests(all, () => nowMs)],
      health: healthy,
      logger: pino({ level: 'silent' }),
      nowMs: () => nowMs,
    });
    const onSlow = (clients: number) => {
      slow += clients;
    };
    server = await listen(app.callback(), {
      host: '127.0.0.1',
      port: 0,
      idleTimeoutMs: 60_000,
      limits: all,
      onSlow,
    });
    return server.address.port;
  }

  const codeOf = (text: string): unknown => JSON.parse(text.slice(text.indexOf('{'))).errors[0].code;
  /** Cut in the middle of what it sends, a client sees a reset as often as an end. */
  const closed = async (socket: Socket): Promise<void> => {
    socket.on('error', () => undefined);
    if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  };

  describe('by what a request looks like', () => {
    const get = (headers: string, target = '/v2/') => `GET ${target} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;
    const many = Array.from({ length: 130 }, (_, row) => `X-${row}: y\r\n`).join('');
    const CASES: readonly (readonly [what: string, text: string, status: number])[] = [
      ['a long target', get('Connection: close\r\n', `/v2/${'a'.repeat(3_000)}`), 414],
      ['a target longer than all headers may be', get('', `/v2/${'a'.repeat(5_000)}`), 431],
      ['a long header', get(`X-A: ${'b'.repeat(5_000)}\r\n`), 431],
      ['headers that are long together', get(`X-A: ${'b'.repeat(90)}\r\n`.repeat(50)), 431],
      ['headers without number', get(`Connection: close\r\n${many}`), 431],
      ['credentials twice', get('Connection: close\r\nAuthorization: a\r\nauthorization: b\r\n'), 400],
      ['two ranges', get('Connection: close\r\nRange: bytes=0-1\r\nRange: bytes=0-1\r\n'), 400],
      ['what is not HTTP', 'hello\r\n\r\n', 400],
      ['a method that there is not', 'BREW / HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      [
        'endless chunk extensions',
        `POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=${'b'.repeat(20_000)}`,
        413,
      ],
    ];
    for (const [what, text, status] of CASES) {
      it(`answers ${status} to ${what}, in the form of registries`, async () => {
        const port = await start({ targetBytes: 2_000, headerBytes: 4_096 });
        const answer = await exchange(port, text);
        assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
        assert.equal(typeof codeOf(answer), 'string');
      });
    }

    it('takes what keeps to the limits', async () => {
      const port = await start({ targetBytes: 2_000, headerBytes: 4_096 });
      const headers = { 'x-a': 'b'.repeat(2_500) };
      assert.equal((await rawCall(port, `/v2/a/tags/list?n=${'1'.repeat(1_000)}`, { headers })).status, 200);
    });
  });

  describe('by slowness', () => {
    it('answers 408 to headers that do not come to an end, whether or not some still come', async () => {
      const port = await start({ headerTimeoutMs: 200 });
      const socket = await openSocket(port);
      socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n');
      const drip = setInterval(() => socket.write('X-A: b\r\n'), 20);
      try {
        assert.match(await readToEnd(socket), /^HTTP\/1\.1 408 /);
      } finally {
        clearInterval(drip);
      }
    });

    it('closes a connection on which nothing is asked', async () => {
      const socket = await openSocket(await start({ headerTimeoutMs: 200 }));
      socket.resume();
      await closed(socket);
    });

    it('cuts a body that comes byte by byte', async () => {
      const port = await start({ bodyBytesPerS: 10_000, bodyGraceMs: 200 });
      const socket = await openSocket(port);
      socket.write('PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n');
      const drip = setInterval(() => socket.write('x'), 20);
      socket.resume();
      try {
        await closed(socket);
        assert.equal(slow, 1);
      } finally {
        clearInterval(drip);
      }
    });

    it('cuts a client that does not take its answer', async () => {
      const socket = await openSocket(await start({ bodyBytesPerS: 1 << 20, bodyGraceMs: 200 }));
      socket.pause();
      socket.write('GET /v2/a/blobs/b HTTP/1.1\r\nHost: x\r\n\r\n');
      while (slow === 0) await new Promise(setImmediate);
      assert.equal(slow, 1);
      socket.resume();
      await closed(socket);
    });
  });

  describe('by number', () => {
    it('closes connections beyond what all together may have', async () => {
      const port = await start({ connections: 2 });
      const kept = [await openSocket(port), await openSocket(port)];
      const more = await openSocket(port);
      more.resume();
      await closed(more);
      kept[0]?.destroy();
      kept[1]?.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      assert.match(await readToEnd(kept[1] as Socket), /^HTTP\/1\.1 200 /); // there are two
    });

    it('closes connections beyond what one client may have, and counts those that end', async () => {
      const port = await start({ connectionsPerClient: 1 });
      const first = await openSocket(port);
      const second = await openSocket(port);
      second.resume();
      await closed(second);
      first.end();
      first.resume();
      await closed(first);
      for (;;) {
        const answer = await rawCall(port, '/v2/').catch(() => undefined); // until the server has seen it
        if (answer?.status === 200) break;
      }
    });

    it('answers 429 with Retry-After to requests beyond the rate, and lets others be', async () => {
      const port = await start({
        ...{ requestsPerS: 0.1, requestBurst: 3 },
        ...{ clientHeader: 'X-Client', trustedProxies: ['127.0.0.1'] },
      });
      const ask = (client: string, target = '/v2/') =>
        rawCall(port, target, { headers: { 'x-client': client } });
      for (let request = 0; request < 3; request += 1) assert.equal((await ask('192.0.2.1')).status, 200);
      const refused = await ask('192.0.2.1');
      assert.equal(refused.status, 429);
      assert.equal(refused.headers['retry-after'], '10');
      assert.equal(codeOf(refused.text), 'TOOMANYREQUESTS');
      assert.equal((await ask('192.0.2.2')).status, 200);
      assert.equal((await ask('192.0.2.1', '/healthz')).status, 200, 'health is not counted');
      nowMs += 10_000;
      assert.equal((await ask('192.0.2.1')).status, 200);
    });

    it('counts no request where no rate is set', async () => {
      const port = await start({ requestsPerS: 0, requestBurst: 1 });
      for (let request = 0; request < 5; request += 1) {
        const answer = await fetch(`http://127.0.0.1:${port}/v2/`);
        await answer.arrayBuffer();
        assert.equal(answer.status, 200);
      }
    });
  });
});
