import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import { DownloadError } from '../../../worker/download/download-error.ts';
import { type ControlActions, ControlServer } from '../../../worker/control/control-server.ts';
import type { PullEvent, PullRequest } from '../../../worker/control/protocol.ts';

type Answer = { readonly status: number; readonly body: string };

const counts = {
  contentsArrived: 1,
  contentsTotal: 2,
  bytesArrived: 3,
  bytesTotal: 4,
  wireBytes: 5,
  wireBytesTotal: 6,
};

describe('ControlServer', () => {
  let directory = '';
  let server: ControlServer;
  let pulled: PullRequest[] = [];
  let pulling: (tell: (event: PullEvent) => void, signal: AbortSignal) => Promise<void>;

  const actions: ControlActions = {
    pull: async (asked, tell, signal) => {
      pulled.push(asked);
      await pulling(tell, signal);
    },
    status: async () => {
      throw new DownloadError('unreachable', 'no proxy');
    },
    version: () => ({ version: '1', node: 'v26' }),
    optimizer: (on) => ({ on }),
    report: async () => ({ images: [] }),
    gc: async () => ({ removedContents: 1, removedBytes: 2, removedImages: 3 }),
    ping: async () => {
      throw new TypeError('a fault of the program');
    },
  };

  beforeEach(async () => {
    directory = mkdtempSync('/tmp/sl-control-');
    pulled = [];
    pulling = async (tell) => tell({ event: 'complete', manifestDigest: 'd', elapsedMs: 1, ...counts });
    server = new ControlServer(actions, pino({ level: 'silent' }));
    await server.listen(join(directory, 'deep/control.sock'));
  });
  afterEach(async () => {
    await server.close(AbortSignal.abort());
    rmSync(directory, { recursive: true });
  });

  const ask = (method: string, path: string, body?: string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const socketPath = join(directory, 'deep/control.sock');
      const outgoing = request({ socketPath, method, path }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        response.on('error', reject);
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });

  it('lets only its owner in', () => {
    assert.equal(statSync(join(directory, 'deep/control.sock')).mode & 0o777, 0o600);
  });

  it('replaces what a dead daemon left in its place', async () => {
    const path = join(directory, 'left.sock');
    const gone = createServer().listen(`${path}.draft`);
    await once(gone, 'listening');
    renameSync(`${path}.draft`, path); // a listener takes away only the name that it knows
    await new Promise((resolve) => gone.close(resolve));
    assert.ok(existsSync(path));
    const other = new ControlServer(actions, pino({ level: 'silent' }));
    await other.listen(path);
    await other.close(AbortSignal.abort());
    assert.ok(!existsSync(path));
  });

  it('does not take the socket of a daemon that lives', async () => {
    const second = new ControlServer(actions, pino({ level: 'silent' }));
    await assert.rejects(second.listen(join(directory, 'deep/control.sock')), /another process listens/);
    assert.equal((await ask('GET', '/v1/version')).status, 200);
  });

  const good: readonly (readonly [string, string, string | undefined, unknown])[] = [
    ['GET', '/v1/version', undefined, { version: '1', node: 'v26' }],
    ['POST', '/v1/optimizer', '{"on":true}', { on: true }],
    ['POST', '/v1/report', undefined, { images: [] }],
    ['POST', '/v1/gc', undefined, { removedContents: 1, removedBytes: 2, removedImages: 3 }],
  ];
  for (const [method, path, body, expected] of good) {
    it(`answers ${method} ${path}`, async () => {
      const answer = await ask(method, path, body);
      assert.equal(answer.status, 200);
      assert.deepEqual(JSON.parse(answer.body), expected);
    });
  }

  const bad: readonly (readonly [string, string, string, string | undefined, number, string])[] = [
    ['another path', 'GET', '/v1/nothing', undefined, 404, 'unknown-request'],
    ['another method', 'GET', '/v1/pull', undefined, 404, 'unknown-request'],
    ['no body', 'POST', '/v1/pull', '', 400, 'invalid-request'],
    ['no JSON', 'POST', '/v1/pull', '{', 400, 'invalid-request'],
    ['no object', 'POST', '/v1/pull', '[]', 400, 'invalid-request'],
    ['no reference', 'POST', '/v1/pull', '{}', 400, 'invalid-request'],
    ['an unknown key', 'POST', '/v1/pull', '{"reference":"a","force":true}', 400, 'invalid-request'],
    ['a wrong type', 'POST', '/v1/pull', '{"reference":1}', 400, 'invalid-request'],
    [
      'a malformed namespace',
      'POST',
      '/v1/pull',
      '{"reference":"a","namespace":"../x"}',
      400,
      'invalid-request',
    ],
    [
      'too many from',
      'POST',
      '/v1/pull',
      JSON.stringify({ reference: 'a', from: Array(65).fill('b') }),
      400,
      'invalid-request',
    ],
    ['a body too large', 'POST', '/v1/pull', 'x'.repeat(300_000), 413, 'too-large'],
    ['an optimizer neither on nor off', 'POST', '/v1/optimizer', '{"on":"yes"}', 400, 'invalid-request'],
    ['a failure that is expected', 'GET', '/v1/status', undefined, 502, 'unreachable'],
    ['a fault of the program', 'GET', '/v1/ping', undefined, 500, 'internal'],
  ];
  for (const [name, method, path, body, status, code] of bad) {
    it(`refuses ${name}`, async () => {
      const answer = await ask(method, path, body);
      assert.equal(answer.status, status, answer.body);
      assert.equal(JSON.parse(answer.body).error.code, code);
      assert.deepEqual(pulled, []);
    });
  }

  const events = (body: string): PullEvent[] =>
    body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as PullEvent); // what the server under test wrote

  it('tells a pull line by line', async () => {
    pulling = async (tell) => {
      tell({ event: 'progress', ...counts });
      tell({ event: 'complete', manifestDigest: 'd', elapsedMs: 1, ...counts });
    };
    const answer = await ask('POST', '/v1/pull', '{"reference":"host/a:b","wait":true}');
    assert.equal(answer.status, 200);
    assert.deepEqual(
      events(answer.body).map(({ event }) => event),
      ['progress', 'complete'],
    );
    assert.deepEqual(pulled, [{ reference: 'host/a:b', wait: true }]);
  });

  it('ends a pull that failed with one error', async () => {
    pulling = async (tell) => {
      tell({ event: 'progress', ...counts });
      throw new DownloadError('not-converted', 'nobody converted it');
    };
    const told = events((await ask('POST', '/v1/pull', '{"reference":"a"}')).body);
    assert.deepEqual(told.at(-1), { event: 'error', code: 'not-converted', message: 'nobody converted it' });
    assert.equal(told.filter(({ event }) => event === 'error').length, 1);
  });

  it('tells the action when the caller goes away', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    pulling = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          resolve();
          reject(signal.reason);
        });
        outgoing.destroy();
      });
    const socketPath = join(directory, 'deep/control.sock');
    const outgoing = request({ socketPath, method: 'POST', path: '/v1/pull' });
    outgoing.on('error', () => undefined);
    outgoing.end('{"reference":"a"}');
    await promise;
  });

  it('tells those under way that it is stopping', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    pulling = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        resolve();
      });
    const answer = ask('POST', '/v1/pull', '{"reference":"a"}');
    await promise;
    await server.close(AbortSignal.timeout(5000));
    assert.deepEqual(events((await answer).body).at(-1)?.event, 'error');
    server = new ControlServer(actions, pino({ level: 'silent' }));
    await server.listen(join(directory, 'deep/control.sock'));
  });
});
