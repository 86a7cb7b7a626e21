import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { tryRun } from '../../../scripts/lib/child.ts';

const CLI = new URL('../../../bin/ctr-starlight', import.meta.url).pathname;
const COUNTS = {
  contentsArrived: 1,
  contentsTotal: 3,
  bytesArrived: 10,
  bytesTotal: 300,
  wireBytes: 5,
  wireBytesTotal: 150,
};
/** What help is filled to where there is no terminal. */
const HELP_COLUMNS = 80;
const DIGEST = `sha256:${'a'.repeat(64)}`;

type Handler = (request: IncomingMessage, body: string, response: ServerResponse) => void;

/** A control socket that answers as a test says; the commands are run as a person runs them. */
class FakeDaemon {
  readonly directory = mkdtempSync(join(tmpdir(), 'starlight-cli-'));
  readonly socket = join(this.directory, 'control.sock');
  readonly requests: { method: string; url: string; body: string }[] = [];
  handler: Handler = (_request, _body, response) => response.writeHead(500).end();
  #server: Server | undefined;

  async listen(): Promise<void> {
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        this.requests.push({ method: request.method ?? '', url: request.url ?? '', body });
        this.handler(request, body, response);
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.socket, resolve));
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
    rmSync(this.directory, { recursive: true });
  }

  run(...args: string[]) {
    return tryRun(CLI, ['--socket', this.socket, ...args]);
  }

  answerJson(body: unknown, status = 200): void {
    this.handler = (_request, _body, response) => response.writeHead(status).end(JSON.stringify(body));
  }

  answerLines(...events: unknown[]): void {
    this.handler = (_request, _body, response) =>
      response.writeHead(200).end(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  }
}

describe('ctr-starlight', function () {
  this.timeout(60_000); // a process per command
  let daemon: FakeDaemon;
  beforeEach(async () => {
    daemon = new FakeDaemon();
    await daemon.listen();
  });
  afterEach(() => daemon.close());

  it('pull sends what was asked for and ends well when a container can start', async () => {
    daemon.answerLines(
      { event: 'header', manifestDigest: DIGEST, platform: 'linux/amd64', unknownFrom: [], ...COUNTS },
      { event: 'ready', manifestDigest: DIGEST, elapsedMs: 120, ...COUNTS },
    );
    const result = await daemon.run(
      'pull',
      '-n',
      'k8s.io',
      '--platform',
      'linux/amd64',
      '--from',
      'r.example/a:1',
      'r.example/a:2',
    );
    assert.equal(result.code, 0, result.stderr);
    assert.equal(result.stdout, 'r.example/a:2\n');
    assert.match(result.stderr, /3 files, 2 to fetch/);
    assert.match(result.stderr, /ready to start after 120 ms: 1 of 3 files are here/);
    assert.deepEqual(JSON.parse(daemon.requests[0]?.body ?? ''), {
      reference: 'r.example/a:2',
      from: ['r.example/a:1'],
      namespace: 'k8s.io',
      wait: false,
      platform: 'linux/amd64',
    });
  });

  it('pull -o json prints each event as a line', async () => {
    daemon.answerLines(
      { event: 'progress', ...COUNTS },
      { event: 'complete', manifestDigest: DIGEST, elapsedMs: 1, ...COUNTS },
    );
    const result = await daemon.run('-o', 'json', 'pull', '--wait', 'r.example/a:2');
    assert.equal(result.code, 0);
    const events = result.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).event);
    assert.deepEqual(events, ['progress', 'complete']);
  });

  const failures: readonly (readonly [string, (d: FakeDaemon) => void, readonly string[], RegExp])[] = [
    [
      'an error event',
      (d) => d.answerLines({ event: 'error', code: 'NOT_CONVERTED', message: 'a:2 is not converted' }),
      ['pull', 'r.example/a:2'],
      /error: a:2 is not converted/,
    ],
    [
      'a refused request',
      (d) => d.answerJson({ error: { code: 'invalid-reference', message: 'no such thing' } }, 400),
      ['pull', 'r.example/a:2'],
      /error: no such thing/,
    ],
    [
      'a connection that ends too early',
      (d) => d.answerLines({ event: 'progress', ...COUNTS }),
      ['pull', 'r.example/a:2'],
      /before the pull was over/,
    ],
    [
      'an answer that is no JSON',
      (d) => {
        d.handler = (_q, _b, response) => response.writeHead(502).end('<html>');
      },
      ['status'],
      /the daemon answered 502/,
    ],
    [
      'a proxy that does not answer',
      (d) =>
        d.answerJson({
          daemon: 'ok',
          proxy: { url: 'http://p', ok: false, elapsedMs: 3, error: 'refused' },
          containerd: { address: '/c', ok: true },
        }),
      ['ping'],
      /the proxy does not answer: refused/,
    ],
    [
      'a containerd that does not answer',
      (d) =>
        d.answerJson({
          daemon: 'ok',
          proxy: { url: 'http://p', ok: true, elapsedMs: 3 },
          containerd: { address: '/c', ok: false, error: 'gone' },
        }),
      ['ping'],
      /containerd does not answer: gone/,
    ],
    [
      'a proxy that cannot be reached',
      () => undefined,
      ['notify', '--proxy', 'http://127.0.0.1:1', 'a:2'],
      /cannot reach the proxy http:\/\/127.0.0.1:1/,
    ],
    [
      'a store without room',
      (d) => d.answerLines({ event: 'error', code: 'quota-exceeded', message: 'no room in the store: 5 GB' }),
      ['pull', 'r.example/a:2'],
      /error: no room in the store: 5 GB/,
    ],
    ['a malformed reference', () => undefined, ['notify', 'UPPER'], /not an image reference/],
    [
      'what is no URL of a proxy',
      () => undefined,
      ['notify', '--proxy', 'proxy:8090', 'a:2'],
      /not the URL of a proxy: "proxy:8090"\nhint: as in http/,
    ],
    [
      'the same, before anything is converted,',
      () => undefined,
      ['convert', '--notify', '--proxy', 'foo', 'oci:/nonexistent:1', '127.0.0.1:1/a:2'],
      /^error: not the URL of a proxy: "foo"\n/,
    ],
    [
      'an image that is not converted',
      (d) => d.answerLines({ event: 'error', code: 'not-converted', message: 'no' }),
      ['pull', 'r.example/a:2'],
      /error: no\nhint: convert it first/,
    ],
    [
      'a daemon that stops meanwhile',
      (d) => d.answerLines({ event: 'error', code: 'stopping', message: 'the daemon is stopping' }),
      ['pull', 'r.example/a:2'],
      /error: the daemon is stopping\nhint: .* by itself/,
    ],
    [
      'a message that would steer the terminal',
      (d) => d.answerLines({ event: 'error', code: 'x', message: 'a\x1b[2Jb' }),
      ['pull', 'r.example/a:2'],
      /error: a\?\[2Jb\n/,
    ],
  ];
  for (const [name, prepare, args, message] of failures) {
    it(`${name} is exit code 1 with the reason`, async () => {
      prepare(daemon);
      const result = await daemon.run(...args);
      assert.equal(result.code, 1, result.stdout);
      assert.match(result.stderr, message);
    });
  }

  const misuses: readonly (readonly string[])[] = [
    ['nope'],
    ['pull'],
    ['pull', 'a', 'b'],
    ['optimizer'],
    ['optimizer', 'maybe'],
    ['status', '--what'],
    ['-o', 'xml', 'status'],
  ];
  for (const args of misuses) {
    it(`${args.join(' ')} is exit code 2`, async () => {
      const result = await daemon.run(...args);
      assert.equal(result.code, 2, result.stdout);
      assert.notEqual(result.stderr, '');
      assert.equal(daemon.requests.length, 0);
    });
  }

  const interruptions = [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const;
  for (const [signal, expected] of interruptions) {
    it(`${signal} in the middle of a pull ends it, and says what goes on`, async () => {
      const asked = new Promise<void>((resolve) => {
        daemon.handler = () => resolve(); // and no answer
      });
      const args = ['--socket', daemon.socket, '-o', 'json', 'pull', 'r.example/a:2'];
      const child = spawn(CLI, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      const [said, [code]] = await Promise.all([
        text(child.stderr),
        once(child, 'exit'),
        asked.then(() => child.kill(signal)),
      ]);
      assert.equal(code, expected);
      const { error } = JSON.parse(said) as { error: { code: string; hint: string } }; // asserted next
      assert.equal(error.code, 'interrupted');
      assert.match(error.hint, /goes on in the background/);
    });
  }

  it('SIGINT to what the daemon has no part in says no more than that', async () => {
    const asked = new Promise<void>((resolve) => {
      daemon.handler = () => resolve();
    });
    const child = spawn(CLI, ['--socket', daemon.socket, 'status'], { stdio: ['ignore', 'ignore', 'pipe'] });
    const [said, [code]] = await Promise.all([
      text(child.stderr),
      once(child, 'exit'),
      asked.then(() => child.kill('SIGINT')),
    ]);
    assert.deepEqual({ said, code }, { said: 'error: interrupted\n', code: 130 });
  });

  it('an unreachable daemon is explained', async () => {
    const result = await tryRun(CLI, ['--socket', join(daemon.directory, 'none.sock'), 'status']);
    assert.equal(result.code, 1);
    assert.match(result.stderr, /cannot reach the daemon.*\nhint: is starlight-daemon running/);
  });

  it('an error with -o json is JSON', async () => {
    daemon.answerJson({ error: { code: 'busy', message: 'later' } }, 503);
    const result = await daemon.run('-o', 'json', 'gc');
    assert.equal(result.code, 1);
    assert.deepEqual(JSON.parse(result.stderr), { error: { code: 'busy', message: 'later' } });
  });

  const status = (store: object, image: object = {}) => ({
    version: '1',
    driver: 'kernel',
    proxy: 'http://p',
    optimizer: false,
    completeForm: { usable: false, reason: 'no EROFS' },
    store: { contents: 3, bytes: 12_288, quotaBytes: 0, reservedBytes: 0, evictableBytes: 0, ...store },
    images: [
      {
        reference: 'r.example/a:2',
        manifestDigest: DIGEST,
        platform: 'linux/amd64',
        state: 'pulling',
        namespaces: ['default'],
        form: 'served',
        mounted: true,
        evictable: false,
        ...COUNTS,
        ...image,
      },
    ],
  });

  it('status shows each image in a row', async () => {
    daemon.answerJson(status({}));
    const result = await daemon.run('status');
    assert.match(result.stdout, /r\.example\/a:2 +linux\/amd64 +pulling +1\/3 +10 B\/300 B +served +yes/);
    assert.match(result.stdout, /images stay served by the daemon: no EROFS\n/);
    assert.match(result.stdout, /^store {2}3 contents, 12\.3 kB$/m);
  });

  it('status shows the quota, what is reserved, and what could go', async () => {
    const store = { quotaBytes: 2e9, reservedBytes: 5e6, evictableBytes: 4096 };
    daemon.answerJson(status(store, { state: 'complete', evictable: true }));
    const { stdout } = await daemon.run('status');
    const line =
      'store  3 contents, 12.3 kB of 2.00 GB, 5.00 MB reserved for pulls under way, 4.10 kB evictable\n';
    assert.ok(stdout.includes(line), stdout);
    assert.match(stdout, /r\.example\/a:2 +linux\/amd64 +complete, evictable +1\/3/);
    const { stdout: json } = await daemon.run('-o', 'json', 'status');
    assert.deepEqual(JSON.parse(json), status(store, { state: 'complete', evictable: true }));
  });

  it('gc says what it freed', async () => {
    daemon.answerJson({ removedImages: 2, removedContents: 30, removedBytes: 1_500_000 });
    assert.equal((await daemon.run('gc')).stdout, 'removed 2 images and 30 contents, freed 1.50 MB\n');
    assert.deepEqual(daemon.requests, [{ method: 'POST', url: '/v1/gc', body: '{}' }]);
  });

  it('gc says that containerd could not be asked, and what it freed all the same', async () => {
    daemon.answerJson({ removedImages: 0, removedContents: 0, removedBytes: 0, containerdError: 'away' });
    const { code, stdout, stderr } = await daemon.run('gc');
    assert.deepEqual(
      { code, stdout, stderr },
      {
        code: 0,
        stdout: 'removed 0 images and 0 contents, freed 0 B\n',
        stderr: 'warning: containerd has not collected its snapshots: away\n',
      },
    );
  });

  it('optimizer on says so to the daemon', async () => {
    daemon.answerJson({ on: true });
    assert.equal((await daemon.run('optimizer', 'on')).stdout, 'optimizer on\n');
    assert.deepEqual(daemon.requests, [{ method: 'POST', url: '/v1/optimizer', body: '{"on":true}' }]);
  });

  for (const name of [
    'convert',
    'jobs',
    'pull',
    'status',
    'notify',
    'mirrors',
    'optimizer',
    'report',
    'gc',
    'ping',
    'version',
  ]) {
    it(`${name} has help with an example, its lines filled`, async () => {
      const result = await daemon.run(name, '--help');
      assert.equal(result.code, 0);
      assert.match(result.stdout, /Examples?:\n {2}/);
      const lines = (result.stdout.split('\n\n')[1] ?? '').split('\n');
      for (const [row, line] of lines.slice(0, -1).entries()) {
        const nextWord = lines[row + 1]?.split(' ')[0] ?? '';
        assert.ok(line.length + 1 + nextWord.length >= HELP_COLUMNS, `a line break after ${line}`);
      }
    });
  }
});
