import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import { RegistryReadError, type RegistryReadFault } from '../../extensions/starlight/registry-reader.ts';
import { type AppOptions, createApp } from '../../server/app.ts';
import { errorAnswer, ociErrorOf } from '../../server/errors.ts';
import { Health, type ReadinessCheck } from '../../server/health.ts';
import { type HttpServer, listen } from '../../server/http-server.ts';
import { metricsText } from '../../server/metrics.ts';
import type { RegistryAnswer } from '../../server/registry/registry.ts';
import { RegistryError } from '../../server/registry/registry-error.ts';
import { healthy } from '../support/healthy.ts';

const OPTIONS: AppOptions = {
  registry: { answer: () => Promise.resolve({ status: 200, headers: [['X-From', 'registry']] }) },
  distribution: {},
  routes: [],
  health: healthy,
  logger: pino({ level: 'silent' }),
  nowMs: () => 0,
};

function serve(options: Partial<AppOptions>, idleTimeoutMs = 60_000): Promise<HttpServer> {
  const app = createApp({ ...OPTIONS, ...options });
  return listen(app.callback(), { host: '127.0.0.1', port: 0, idleTimeoutMs });
}

async function withServer<T>(
  options: Partial<AppOptions>,
  use: (url: string, server: HttpServer) => Promise<T>,
): Promise<T> {
  const server = await serve(options);
  try {
    return await use(`http://127.0.0.1:${server.address.port}`, server);
  } finally {
    if (!server.draining()) await server.close(AbortSignal.abort());
  }
}

describe('createApp()', () => {
  it('asks extensions before the registry, and the registry for the rest of /v2/', async () => {
    const routes: AppOptions['routes'] = [
      (ctx, next) => {
        if (ctx.path !== '/v2/_oci/ext/discover') return next();
        ctx.body = { extensions: [] };
        return undefined;
      },
    ];
    await withServer({ routes }, async (url) => {
      assert.deepEqual(await (await fetch(`${url}/v2/_oci/ext/discover`)).json(), { extensions: [] });
      assert.equal((await fetch(`${url}/v2/a/manifests/v1`)).headers.get('x-from'), 'registry');
      assert.equal((await fetch(`${url}/elsewhere`)).status, 404);
      assert.equal((await fetch(`${url}/v2x/`)).status, 404);
    });
  });

  it('answers what an extension throws, and tells nothing of what is unforeseen', async () => {
    for (const [error, status] of [
      [new RegistryReadError({ kind: 'unauthorized', challenges: ['Basic realm="x"'] }, 'm'), 401],
      [new Error('a secret'), 500],
    ] as const) {
      const fail = () => Promise.reject(error);
      await withServer({ routes: [fail] }, async (url) => {
        const answer = await fetch(`${url}/starlight/x`);
        assert.equal(answer.status, status);
        assert.equal(answer.headers.get('www-authenticate'), status === 401 ? 'Basic realm="x"' : null);
        assert.ok(!(await answer.text()).includes('a secret'));
      });
    }
  });

  it('aborts the signal of a request whose client went away', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const registry = {
      answer: (request: { signal: AbortSignal }) => {
        request.signal.addEventListener('abort', () => resolve());
        arrived.resolve();
        return new Promise<RegistryAnswer>(() => undefined);
      },
    };
    await withServer({ registry }, async (url) => {
      const asked = get(`${url}/v2/`);
      asked.on('error', () => undefined); // it is cut on purpose
      await arrived.promise;
      asked.destroy();
      await promise;
    });
  });

  it('logs of a client that goes away in the middle of a body that it was cut, and no error', async () => {
    const lines: { level: number; msg: string }[] = [];
    const cut = Promise.withResolvers<void>();
    const logger = pino(
      { level: 'info' },
      {
        write: (line) => {
          const entry = JSON.parse(line) as { level: number; msg: string }; // pino's own line
          lines.push(entry);
          if (entry.msg === 'request cut') cut.resolve();
        },
      },
    );
    const endless = async function* () {
      for (;;) yield Buffer.alloc(256 << 10);
    };
    const registry = { answer: async () => ({ status: 200, headers: [], body: Readable.from(endless()) }) };
    await withServer({ registry, logger }, async (url) => {
      const asked = get(`${url}/v2/a/blobs/sha256:${'0'.repeat(64)}`);
      asked.on('error', () => undefined); // it is cut on purpose
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      await once(response, 'readable');
      asked.socket?.resetAndDestroy();
      await cut.promise;
      await setImmediate(); // Koa hears of it with the same turn's events
    });
    assert.deepEqual(
      lines.filter(({ level }) => level > 30),
      [],
    );
  });
});

describe('health', () => {
  const GOOD = { name: 'good', required: true, check: () => Promise.resolve() };
  const BAD = { name: 'bad', required: true, check: () => Promise.reject(new Error('a secret')) };
  const AWAY = { ...BAD, name: 'away', required: false };
  type Phase = 'starting' | 'running' | 'draining';
  const ROWS: readonly (readonly [string, Phase, readonly ReadinessCheck[], number, unknown])[] = [
    ['/healthz', 'running', [BAD], 200, { status: 'ok' }],
    ['/healthz', 'draining', [], 200, { status: 'ok' }],
    ['/readyz', 'running', [], 200, { status: 'ok', checks: {} }],
    ['/readyz', 'running', [GOOD], 200, { status: 'ok', checks: { good: 'ok' } }],
    ['/readyz', 'running', [GOOD, AWAY], 200, { status: 'degraded', checks: { good: 'ok', away: 'failed' } }],
    ['/readyz', 'running', [GOOD, BAD], 503, { status: 'failed', checks: { good: 'ok', bad: 'failed' } }],
    ['/readyz', 'running', [AWAY, BAD], 503, { status: 'failed', checks: { away: 'failed', bad: 'failed' } }],
    ['/readyz', 'draining', [GOOD], 503, { status: 'draining', checks: { good: 'ok' } }],
    ['/readyz', 'draining', [AWAY], 503, { status: 'draining', checks: { away: 'failed' } }],
    ['/healthz', 'starting', [BAD], 200, { status: 'ok' }],
    ['/readyz', 'starting', [GOOD], 503, { status: 'starting', checks: { good: 'ok' } }],
    [
      '/readyz',
      'starting',
      [GOOD, AWAY],
      503,
      { status: 'starting', checks: { good: 'ok', away: 'failed' } },
    ],
  ];
  for (const [path, phase, checks, status, body] of ROWS) {
    it(`answers ${path} by ${status} with ${checks.map((one) => one.name).join()}, ${phase}`, async () => {
      const health = new Health({
        checks,
        starting: () => phase === 'starting',
        draining: () => phase === 'draining',
        onChange: () => undefined,
      });
      await withServer({ health }, async (url) => {
        const answer = await fetch(url + path);
        assert.equal(answer.status, status);
        assert.deepEqual(await answer.json(), body);
        assert.equal((await fetch(url + path, { method: 'POST' })).status, 405);
      });
    });
  }

  it('tells of a check that fails, and that passes again, once each', async () => {
    const told: string[] = [];
    let away: Error | undefined = new Error('gone');
    const check = () => (away === undefined ? Promise.resolve() : Promise.reject(away));
    const onChange = (name: string, error?: unknown) => void told.push(`${name} ${error}`);
    const health = new Health({
      checks: [{ name: 'a', required: false, check }],
      starting: () => false,
      draining: () => false,
      onChange,
    });
    const up = async () => await metricsText(health.metrics);
    for (let n = 0; n < 3; n += 1) assert.equal((await health.readiness()).status, 'degraded');
    assert.match(await up(), /^starlight_a_up 0$/m);
    assert.deepEqual(told, ['a Error: gone']);
    away = undefined;
    assert.match(await up(), /^starlight_a_up 1$/m);
    assert.equal((await health.readiness()).status, 'ok');
    assert.deepEqual(told, ['a Error: gone', 'a undefined']);
  });

  it('tells of no failure while it starts', async () => {
    const told: string[] = [];
    let starting = true;
    const health = new Health({
      checks: [AWAY],
      starting: () => starting,
      draining: () => false,
      onChange: (name) => told.push(name),
    });
    await health.readiness();
    assert.deepEqual(told, []);
    starting = false;
    await health.readiness();
    assert.deepEqual(told, ['away']);
  });

  it('asks once for all who want to know at the same time', async () => {
    let asked = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = () => {
      asked += 1;
      return promise;
    };
    const health = new Health({
      checks: [{ name: 'a', required: true, check }],
      starting: () => false,
      draining: () => false,
      onChange: () => undefined,
    });
    const all = [health.readiness(), health.readiness(), metricsText(health.metrics)];
    resolve();
    await Promise.all(all);
    assert.equal(asked, 1);
  });
});

describe('HttpServer', () => {
  it('lets a request in flight finish when it closes, then refuses', async () => {
    const release = Promise.withResolvers<RegistryAnswer>();
    const arrived = Promise.withResolvers<void>();
    const registry = {
      answer: () => {
        arrived.resolve();
        return release.promise;
      },
    };
    await withServer({ registry }, async (url, server) => {
      const inFlight = fetch(`${url}/v2/`);
      await arrived.promise;
      const closed = server.close(new AbortController().signal);
      assert.ok(server.draining());
      await assert.rejects(fetch(`${url}/healthz`));
      release.resolve({ status: 200, headers: [] });
      assert.equal((await inFlight).status, 200);
      await closed;
    });
  });

  it('cuts a request in flight at the limit', async () => {
    const arrived = Promise.withResolvers<void>();
    const registry = {
      answer: () => {
        arrived.resolve();
        return new Promise<RegistryAnswer>(() => undefined);
      },
    };
    await withServer({ registry }, async (url, server) => {
      const inFlight = assert.rejects(fetch(`${url}/v2/`));
      await arrived.promise;
      const cut = new AbortController();
      const closed = server.close(cut.signal);
      cut.abort();
      await closed;
      await inFlight;
    });
  });

  it('closes a connection on which nothing moves', async () => {
    const registry = { answer: () => new Promise<RegistryAnswer>(() => undefined) };
    const server = await serve({ registry }, 50);
    const asked = get(`http://127.0.0.1:${server.address.port}/v2/`);
    const [error] = await once(asked, 'error');
    assert.equal(error.code, 'ECONNRESET');
    await server.close(AbortSignal.abort());
  });

  it('says so where its port is taken', async () => {
    await withServer({}, async (_, server) => {
      await assert.rejects(
        listen(() => undefined, { host: '127.0.0.1', port: server.address.port, idleTimeoutMs: 1000 }),
        /EADDRINUSE/,
      );
    });
  });
});

describe('ociErrorOf()', () => {
  const READS: readonly (readonly [RegistryReadFault, number, string])[] = [
    [{ kind: 'unauthorized', challenges: [] }, 401, 'UNAUTHORIZED'],
    [{ kind: 'denied' }, 403, 'DENIED'],
    [{ kind: 'unavailable', status: 429, retryAfter: '5' }, 429, 'TOOMANYREQUESTS'],
    [{ kind: 'unavailable', status: 500 }, 503, 'UNAVAILABLE'],
    [{ kind: 'unavailable' }, 503, 'UNAVAILABLE'],
    [{ kind: 'protocol' }, 502, 'UNAVAILABLE'],
  ];
  for (const [fault, status, code] of READS) {
    it(`makes ${status} of ${JSON.stringify(fault)}`, () => {
      const error = ociErrorOf(new RegistryReadError(fault, 'm'));
      assert.equal(error.status, status);
      assert.equal(error.code, code);
      if (status === 429) assert.deepEqual(error.headers, [['Retry-After', '5']]);
    });
  }
  for (const thrown of [new Error('x'), 'x', undefined, null, { status: 200 }]) {
    it(`makes 500 of ${String(thrown)}`, () => assert.equal(ociErrorOf(thrown).status, 500));
  }
  it('makes the form of the specification', () => {
    const answer = errorAnswer(ociErrorOf(new RegistryError({ kind: 'blob-unknown', digest: 'd' })));
    assert.ok(answer.body instanceof Uint8Array);
    assert.deepEqual(JSON.parse(Buffer.from(answer.body).toString()), {
      errors: [{ code: 'BLOB_UNKNOWN', message: 'blob not known', detail: { digest: 'd' } }],
    });
  });
});
