import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import type { Directory } from '../../../../extensions/starlight/directory.ts';
import { eventRoutes } from '../../../../extensions/starlight/events/routes.ts';
import { scannerRoutes } from '../../../../extensions/starlight/events/scanner-routes.ts';
import { JobIntake } from '../../../../extensions/starlight/jobs/intake.ts';
import type { JobId } from '../../../../extensions/starlight/jobs/job.ts';
import { JOB_LIMITS, type JobQueue } from '../../../../extensions/starlight/jobs/job-queue.ts';
import { jobRoutes } from '../../../../extensions/starlight/jobs/routes.ts';
import type { JobView } from '../../../../schemas/jobs/job-view.ts';
import { digestOf } from '../../../../schemas/oci/digest.ts';
import { createApp } from '../../../../server/app.ts';
import { openStores } from '../../../../server/directory/open.ts';
import { type HttpServer, listen } from '../../../../server/http-server.ts';
import { healthy } from '../../../support/healthy.ts';

const SIGNAL = new AbortController().signal;
const SECRET = 'what webhooks know';
const TOKEN = 'what operators know';
const MAX_OPEN = 6;
const DIGEST = digestOf('an image');

describe('/starlight/events, /starlight/jobs and /api/v1', function () {
  this.timeout(60_000);
  let directory: Directory;
  let queue: JobQueue;
  let stopped: JobId[];
  const servers: HttpServer[] = [];
  before(async () => {
    const jobLimits = { ...JOB_LIMITS, maxOpen: MAX_OPEN };
    ({ directory, jobs: queue } = await openStores({ kind: 'pglite' }, { jobLimits }));
  });
  after(() => directory?.close());
  beforeEach(() => {
    stopped = [];
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close(AbortSignal.abort());
    for (const { id } of await queue.list({ limit: 100 }, SIGNAL)) await queue.cancel(id, SIGNAL);
  });

  /** The proxy, with these secrets. */
  const start = async (
    secret: string | undefined,
    token: string | undefined,
    maxJsonBytes?: number,
  ): Promise<string> => {
    const intake = new JobIntake({ queue, patterns: ['team/**'], wake: () => undefined });
    const repositoryOf = (ns: string | undefined, name: string) =>
      ns === undefined || ns === 'origin.example' ? { registry: 'origin', name } : undefined;
    const app = createApp({
      registry: { answer: () => Promise.resolve({ status: 418, headers: [] }) },
      distribution: {},
      routes: [
        eventRoutes({ intake, repositoryOf, secret, maxJsonBytes }),
        scannerRoutes({ intake, repositoryOf, secret, queue, version: '1.2.3', maxJsonBytes }),
        jobRoutes({ queue, stop: (id) => stopped.push(id), token }),
      ],
      health: healthy,
      logger: pino({ level: 'silent' }),
      nowMs: () => performance.now(),
    });
    const server = await listen(app.callback(), { host: '127.0.0.1', port: 0, idleTimeoutMs: 60_000 });
    servers.push(server);
    return `http://127.0.0.1:${server.address.port}`;
  };
  const newName = () => `team/${randomBytes(6).toString('hex')}`;
  const harbor = (...names: readonly string[]) => ({
    type: 'PUSH_ARTIFACT',
    occur_at: 1,
    event_data: {
      resources: names.length === 1 ? [{ digest: DIGEST, tag: 'v1' }] : [],
      repository: { repo_full_name: names[0] },
    },
  });
  const envelope = (names: readonly string[]) => ({
    events: names.map((repository) => ({
      action: 'push',
      target: {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: DIGEST,
        repository,
        tag: 'v1',
      },
    })),
  });
  const tell = (url: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(url, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { authorization: SECRET, ...headers },
    });
  const idsOf = async (answer: Response) => ((await answer.json()) as { jobs: JobId[] }).jobs;

  it('stores a job before it answers', async () => {
    const url = await start(SECRET, TOKEN);
    const name = newName();
    const answer = await tell(`${url}/starlight/events`, harbor(name));
    assert.equal(answer.status, 202);
    const [id] = await idsOf(answer);
    const job = await queue.find(id as JobId, SIGNAL);
    assert.deepEqual(
      [job?.kind, job?.registry, job?.name, job?.reference, job?.digest, job?.origin, job?.state],
      ['ingest', 'origin', name, 'v1', DIGEST, 'event', 'queued'],
    );
  });

  it('counts what is of no repository that is looked at', async () => {
    const url = await start(SECRET, TOKEN);
    const answer = await tell(
      `${url}/starlight/events`,
      envelope([newName(), 'other/app', 'Team/Bad', 'team/../x']),
    );
    const body = (await answer.json()) as { jobs: string[]; ignored: number };
    assert.deepEqual([answer.status, body.jobs.length, body.ignored], [202, 1, 3]);
  });

  it('takes events of the registry that ns names, and of no other', async () => {
    const url = await start(SECRET, TOKEN);
    const known = await tell(`${url}/starlight/events?ns=origin.example`, harbor(newName()));
    assert.equal((await idsOf(known)).length, 1);
    const unknown = await tell(`${url}/starlight/events?ns=other.example`, harbor(newName()));
    assert.deepEqual(await idsOf(unknown), []);
  });

  const REFUSED: readonly (readonly [what: string, authorization: string | undefined])[] = [
    ['none', undefined],
    ['another', 'another secret'],
    ['its beginning', SECRET.slice(0, -1)],
    ['the operators’ token', TOKEN],
  ];
  for (const [what, authorization] of REFUSED) {
    it(`refuses whoever presents ${what}, and stores nothing`, async () => {
      const url = await start(SECRET, TOKEN);
      const headers = authorization === undefined ? {} : { authorization };
      for (const [path, method] of [
        ['/starlight/events', 'POST'],
        ['/api/v1/metadata', 'GET'],
        ['/api/v1/scan', 'POST'],
        ['/api/v1/scan/x/report', 'GET'],
      ] as const) {
        const body = method === 'POST' ? { body: JSON.stringify(harbor(newName())) } : {};
        const answer = await fetch(`${url}${path}`, { method, headers, ...body });
        assert.equal(answer.status, 403, path);
        assert.match(await answer.text(), /events\.secret/);
      }
      assert.deepEqual(await queue.list({ limit: 10, state: 'queued' }, SIGNAL), []);
    });
  }

  it('is off without a secret, and says what to set', async () => {
    const url = await start(undefined, TOKEN);
    const answer = await tell(`${url}/starlight/events`, harbor(newName()));
    assert.equal(answer.status, 404);
    assert.match(await answer.text(), /is off: set events\.secret in the configuration/);
  });

  const BAD: readonly (readonly [what: string, body: string, says: RegExp])[] = [
    ['no JSON', '{', /not JSON/],
    ['an unknown shape', '{"hello": 1}', /none of the events that are understood.*Harbor/],
    ['too much', `"${'x'.repeat(8 << 20)}"`, /larger than/],
  ];
  for (const [what, body, says] of BAD) {
    it(`refuses ${what}`, async () => {
      const url = await start(SECRET, TOKEN);
      const answer = await tell(`${url}/starlight/events`, body);
      assert.ok(answer.status === 400 || answer.status === 413, String(answer.status));
      assert.match(await answer.text(), says);
    });
  }

  it('takes no JSON beyond the limit of the whole proxy', async () => {
    const url = await start(SECRET, TOKEN, 4_096);
    const body = `"${'x'.repeat(4_096)}"`;
    for (const path of ['/starlight/events', '/api/v1/scan']) {
      assert.equal((await tell(`${url}${path}`, body)).status, 413, path);
    }
  });

  it('asks to come again when the queue is full', async () => {
    const url = await start(SECRET, TOKEN);
    const full = await tell(`${url}/starlight/events`, envelope(Array.from({ length: MAX_OPEN }, newName)));
    assert.equal(full.status, 202);
    const more = await tell(`${url}/starlight/events`, harbor(newName()));
    assert.equal(more.status, 503);
    assert.equal(more.headers.get('retry-after'), '30');
    assert.match(await more.text(), /queue of jobs/);
  });

  it('has no other methods', async () => {
    const url = await start(SECRET, TOKEN);
    const answer = await fetch(`${url}/starlight/events`);
    assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'POST']);
  });

  describe('jobs', () => {
    const ask = (url: string, path: string, method = 'GET', token = TOKEN) =>
      fetch(`${url}/starlight/jobs${path}`, { method, headers: { 'starlight-token': token } });

    it('are listed, shown and cancelled', async () => {
      const url = await start(SECRET, TOKEN);
      const name = newName();
      const [id = ''] = await idsOf(await tell(`${url}/starlight/events`, harbor(name)));
      const list = (await (await ask(url, '?state=queued&limit=1')).json()) as { jobs: JobView[] };
      assert.deepEqual(
        list.jobs.map((job) => [job.id, job.name]),
        [[id, name]],
      );
      const shown = (await (await ask(url, `/${id}`)).json()) as JobView;
      assert.match(shown.created, /^\d{4}-\d\d-\d\dT/);
      const cancelled = (await (await ask(url, `/${id}`, 'DELETE')).json()) as JobView;
      assert.equal(cancelled.state, 'cancelled');
      assert.deepEqual(stopped, [id]);
    });

    const WRONG: readonly (readonly [path: string, method: string, status: number])[] = [
      ['/5f0c1a52-0000-4000-8000-000000000000', 'GET', 404],
      ['/5f0c1a52-0000-4000-8000-000000000000', 'DELETE', 404],
      ["/x';DROP TABLE job", 'GET', 404],
      ['?state=sleeping', 'GET', 400],
      ['?limit=0', 'GET', 400],
      ['?limit=many', 'GET', 400],
      ['', 'POST', 405],
      ['/x', 'PUT', 405],
    ];
    for (const [path, method, status] of WRONG) {
      it(`answers ${status} to ${method} ${path}`, async () => {
        assert.equal((await ask(await start(SECRET, TOKEN), path, method)).status, status);
      });
    }

    it('are told to nobody without the token, nor where there is none', async () => {
      assert.equal((await ask(await start(SECRET, TOKEN), '', 'GET', 'wrong')).status, 403);
      const answer = await ask(await start(SECRET, undefined), '');
      assert.equal(answer.status, 404);
      assert.match(await answer.text(), /set starlight\.token/);
    });
  });

  describe('as a scanner of Harbor’s', () => {
    const scan = (name: string, fields: object = {}) => ({
      registry: { url: 'http://core:8080', authorization: 'Basic cm9ib3Q6eA==' },
      artifact: {
        repository: name,
        digest: DIGEST,
        tag: 'v1',
        mime_type: 'application/vnd.oci.image.manifest.v1+json',
        ...fields,
      },
      enabled_capabilities: [{ type: 'vulnerability' }],
    });
    const report = (
      url: string,
      id: string,
      accept = 'application/vnd.security.vulnerability.report; version=1.1',
    ) =>
      fetch(`${url}/api/v1/scan/${id}/report`, {
        headers: { authorization: SECRET, accept },
        redirect: 'manual',
      });

    it('says what it takes and gives', async () => {
      const url = await start(SECRET, TOKEN);
      const answer = await fetch(`${url}/api/v1/metadata`, {
        headers: { 'x-scanneradapter-api-key': SECRET },
      });
      assert.equal(
        answer.headers.get('content-type'),
        'application/vnd.scanner.adapter.metadata+json; version=1.1',
      );
      const { scanner, capabilities } = (await answer.json()) as {
        scanner: object;
        capabilities: { type: string; consumes_mime_types: string[]; produces_mime_types: string[] }[];
      };
      assert.deepEqual(scanner, { name: 'Starlight', vendor: 'Starlight', version: '1.2.3' });
      assert.deepEqual(
        capabilities.map(({ type }) => type),
        ['vulnerability'],
      );
    });

    it('scans: 202, 302 until it is done, then a report', async () => {
      const url = await start(SECRET, TOKEN);
      const name = newName();
      const accepted = await tell(`${url}/api/v1/scan`, scan(name));
      assert.equal(accepted.status, 202);
      const { id } = (await accepted.json()) as { id: JobId };
      const waiting = await report(url, id);
      assert.deepEqual([waiting.status, waiting.headers.get('refresh-after')], [302, '5']);
      await queue.claim(['ingest'], 'a', SIGNAL);
      assert.equal((await report(url, id)).status, 302);
      await queue.finish(id, 'a', { kind: 'done', result: 'linux/amd64 ingested' }, SIGNAL);
      const done = await report(url, id);
      assert.equal(done.status, 200);
      assert.equal(
        done.headers.get('content-type'),
        'application/vnd.security.vulnerability.report; version=1.1',
      );
      const body = (await done.json()) as Record<string, unknown>;
      assert.deepEqual(
        [body['artifact'], body['severity'], body['vulnerabilities'], body['starlight']],
        [{ repository: name, digest: DIGEST, tag: 'v1' }, 'Unknown', [], { result: 'linux/amd64 ingested' }],
      );
      assert.equal(
        (await report(url, id, 'application/vnd.security.sbom.report+json; version=1.0')).status,
        501,
      );
    });

    it('tells of a scan that failed, and knows no other', async () => {
      const url = await start(SECRET, TOKEN);
      const { id } = (await (await tell(`${url}/api/v1/scan`, scan(newName()))).json()) as { id: JobId };
      await queue.claim(['ingest'], 'a', SIGNAL);
      await queue.finish(id, 'a', { kind: 'failed', error: 'the registry denies this' }, SIGNAL);
      const failed = await report(url, id);
      assert.equal(failed.status, 500);
      assert.deepEqual(await failed.json(), { error: { message: 'the registry denies this' } });
      assert.equal((await report(url, 'unknown')).status, 404);
    });

    const WRONG: readonly (readonly [what: string, body: unknown, status: number])[] = [
      ['no JSON', '{', 400],
      ['another shape', { artifact: 'x' }, 400],
      ['neither digest nor tag', scan('team/app', { digest: '', tag: '' }), 422],
      ['a repository that is not looked at', scan('other/app'), 422],
    ];
    for (const [what, body, status] of WRONG) {
      it(`answers ${status} to ${what}, in Harbor’s form`, async () => {
        const answer = await tell(`${await start(SECRET, TOKEN)}/api/v1/scan`, body);
        assert.equal(answer.status, status);
        const { error } = (await answer.json()) as { error: { message: string } };
        assert.ok(error.message.length > 0);
      });
    }
  });
});
