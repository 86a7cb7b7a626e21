import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tryRun } from '../../scripts/lib/child.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { pushImage } from '../support/push-image.ts';
import { SilentServer } from '../support/silent-server.ts';

const WAITING = 'waiting for the directory database; registry traffic is served meanwhile';
const PROXY = new URL('../../bin/starlight-proxy', import.meta.url).pathname;
/** A day, the longest: what ends before has not waited for it. */
const LONGEST = ['--database-wait-limit-ms', '86400000'];
const NOBODY = 'postgres://u:topsecret@127.0.0.1:1/x';

describe('starlight-proxy, started before its database', function () {
  this.timeout(180_000);
  let home: string;
  let postgres: PostgresServer;
  let started = 0;
  const proxies: ProxyProcess[] = [];

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'starlight-test-database-start-'));
    postgres = await startPostgres();
  });
  afterEach(async () => {
    await Promise.all(proxies.splice(0).map((proxy) => proxy[Symbol.asyncDispose]()));
    await postgres.start();
  });
  after(async () => {
    await postgres?.destroy();
    await rm(home, { recursive: true, force: true });
  });

  const directory = () => {
    started += 1;
    return join(home, String(started));
  };
  const waiting = async (url: string, ...flags: readonly string[]) => {
    const proxy = await ProxyProcess.start(
      directory(),
      ['--database-url', url, ...LONGEST, ...flags],
      WAITING,
    );
    proxies.push(proxy);
    return proxy;
  };
  const ready = async ({ url }: ProxyProcess) => {
    const answer = await fetch(`${url}/readyz`);
    return [answer.status, await answer.json()];
  };
  const waits = (log: string) => log.split(WAITING).length - 1;

  it('serves registry traffic, is ready when the database has come, and ingests what was pushed before', async () => {
    const url = await postgres.createDatabase('late');
    await postgres.stop();
    // Two replicas, which then find an empty database at the same time. Redis is not waited for.
    const [one, two] = await Promise.all([
      waiting(url, '--cache-redis-url', 'redis://127.0.0.1:1'),
      waiting(url),
    ]);
    const checks = { storage: 'ok', directory: 'failed' };
    assert.deepEqual(await ready(two), [503, { status: 'starting', checks }]);
    assert.equal((await fetch(`${one.url}/healthz`)).status, 200);
    await pushImage(one.host, 'a/b', 'v1', [Buffer.from('{}'), Buffer.from('no layer')]);
    assert.equal((await fetch(`${one.url}/v2/a/b/manifests/v1`)).status, 200);
    assert.equal((await fetch(`${one.url}/starlight/delta?to=a/b:v1`)).status, 503);

    await postgres.start();
    await Promise.all([one.logged(/"msg":"ready"/), two.logged(/"msg":"ready"/)]);
    assert.deepEqual(await ready(two), [200, { status: 'ok', checks: { ...checks, directory: 'ok' } }]);
    const degraded = { storage: 'ok', directory: 'ok', cache: 'failed' };
    assert.deepEqual(await ready(one), [200, { status: 'degraded', checks: degraded }]);
    await one.logged(/"name":"a\/b","reference":"v1","origin":"push"/); // the line of its job
    assert.deepEqual([waits(one.server.log()), waits(two.server.log())], [1, 1]);
  });

  it('waits for a server that recovers', async () => {
    const url = await postgres.createDatabase('recovers');
    await postgres.stop();
    await postgres.startRecovering();
    const proxy = await waiting(url);
    assert.match(proxy.server.log(), /the database system is not accepting connections/);
    await postgres.promote();
    await proxy.logged(/"msg":"ready"/);
  });

  it('ends with 0 on SIGTERM while it waits', async () => {
    const proxy = await waiting(NOBODY);
    assert.equal(await proxy.server.stop('SIGTERM'), 0);
    assert.doesNotMatch(proxy.server.log(), /"msg":"ready"|cannot start/);
  });

  it('ends with 0 on SIGTERM while a server that says nothing is asked', async () => {
    await using silent = await SilentServer.start();
    const asked = silent.connected();
    const flags = ['--database-url', `postgres://u@127.0.0.1:${silent.port}/x`, ...LONGEST];
    const proxy = await ProxyProcess.start(directory(), flags, 'listening');
    await asked;
    assert.equal(await proxy.server.stop('SIGTERM'), 0);
    assert.doesNotMatch(proxy.server.log(), /"msg":"ready"|cannot start/);
  });

  const ends = (url: string, ...flags: readonly string[]) => {
    const at = directory();
    const own = ['--storage-dir', join(at, 'registry'), '--database-url', url];
    return tryRun(PROXY, ['--listen-port', '0', ...own, ...flags]);
  };

  it('ends with 1 when the time is over, and says what to do', async () => {
    const { code, stdout, stderr } = await ends(NOBODY, '--database-wait-limit-ms', '1000');
    assert.equal(
      stderr,
      'starlight-proxy: cannot start: waited 1 s for the directory database: start it, correct database.url, ' +
        'or raise database.waitLimitMs: the directory database does not answer: connect ECONNREFUSED 127.0.0.1:1\n',
    );
    assert.equal(code, 1);
    assert.equal(waits(stdout), 1);
    assert.ok(!`${stdout}${stderr}`.includes('topsecret'));
  });

  const WRONG: readonly (readonly [what: string, change: (url: URL) => void, message: RegExp])[] = [
    [
      'an unknown database',
      (url) => (url.pathname = '/none'),
      /: cannot start: database "none" does not exist$/,
    ],
    ['an unknown user', (url) => (url.username = 'nobody'), /: cannot start: role "nobody" does not exist$/],
  ];
  for (const [what, change, message] of WRONG) {
    it(`ends with 1 at once for ${what}`, async () => {
      // The host is a socket's directory, in the query.
      const url = new URL(postgres.url.replace('@/', '@socket/'));
      change(url);
      const { code, stdout, stderr } = await ends(url.href.replace('@socket/', '@/'), ...LONGEST);
      assert.match(stderr.trimEnd(), message);
      assert.equal(code, 1);
      assert.equal(waits(stdout), 0);
    });
  }
});
