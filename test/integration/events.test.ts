import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, tryRun } from '../../scripts/lib/child.ts';
import { freePort } from '../../scripts/lib/free-port.ts';
import type { JobView } from '../../schemas/jobs/job-view.ts';
import { digestOf } from '../../schemas/oci/digest.ts';
import { MANIFEST_MEDIA_TYPES, MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { originRequests } from '../support/origin-log.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { directory, file, whiteout } from '../support/tar.ts';
import { until } from '../support/until.ts';

const SECRET = 'what the registry knows';
const TOKEN = 'what operators know';
const CLI = new URL('../../bin/ctr-starlight', import.meta.url).pathname;

/** The proxy's jobs, as its API tells of them. */
class Jobs {
  readonly #proxy: ProxyProcess;

  constructor(proxy: ProxyProcess) {
    this.#proxy = proxy;
  }

  async all(): Promise<readonly JobView[]> {
    const answer = await fetch(`${this.#proxy.url}/starlight/jobs?limit=1000`, {
      headers: { 'starlight-token': TOKEN },
    });
    assert.equal(answer.status, 200);
    return ((await answer.json()) as { jobs: JobView[] }).jobs;
  }

  /** The job, once it is in that state. */
  async ended(kind: string, name: string, reference: string, state = 'done'): Promise<JobView> {
    const find = async () =>
      (await this.all()).find(
        (job) => job.kind === kind && job.name === name && job.reference === reference && job.state === state,
      );
    return await until(
      find,
      async () => `no ${kind} of ${name} ${reference} is ${state}: ${await this.text()}`,
    );
  }

  /** All jobs, once none is open. */
  async idle(): Promise<readonly JobView[]> {
    const find = async () => {
      const jobs = await this.all();
      return jobs.every(({ state }) => state !== 'queued' && state !== 'running') ? jobs : undefined;
    };
    return await until(find, async () => `there are jobs for ever: ${await this.text()}`);
  }

  async text(): Promise<string> {
    return JSON.stringify(await this.all(), undefined, 1);
  }
}

async function manifest(host: string, name: string, reference: string) {
  const answer = await fetch(`http://${host}/v2/${name}/manifests/${reference}`, {
    headers: { accept: MANIFEST_MEDIA_TYPES.join(', ') },
  });
  return { status: answer.status, text: await answer.text() };
}

const askDelta = (proxy: ProxyProcess, to: string) => fetch(`${proxy.url}/starlight/delta?to=${to}`);

describe('events and automatic conversion', function () {
  this.timeout(300_000);
  let scratch: string;
  let layout: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'starlight-events-'));
    layout = join(scratch, 'layout');
    const layers = (version: string) => [
      [directory('bin'), file('bin/app', `program ${version}`), file('bin/old', 'x')],
      [directory('lib'), file('lib/data', Buffer.alloc(400_000, version)), whiteout('bin/old')],
    ];
    makeLayout(layout, [
      { tag: 'v1', layers: layers('1') },
      { tag: 'v2', layers: layers('2') },
      { tag: 'both', layers: layers('3') },
      { tag: 'both', layers: layers('4'), platform: { os: 'linux', architecture: 'arm64' } },
    ]);
  });
  after(() => rm(scratch, { recursive: true, force: true }));

  const push = async (tag: string, host: string, name: string) => {
    const all = ['copy', '-q', '--all', '--preserve-digests', '--dest-tls-verify=false'];
    await run('skopeo', ['--insecure-policy', ...all, `oci:${layout}:${tag}`, `docker://${host}/${name}`]);
  };

  describe('with docker-registry as the upstream', () => {
    let registry: DockerRegistry;
    let proxy: ProxyProcess;
    let jobs: Jobs;
    before(async () => {
      const host = `127.0.0.1:${await freePort()}`;
      const config = join(scratch, 'proxy.yaml');
      await writeFile(
        config,
        `upstream: { url: "http://${host}" }
starlight: { token: "${TOKEN}" }
events: { secret: "${SECRET}" }
convert:
  - { match: "team/**", tagSuffix: "-starlight" }
  - { match: "referring/*", sameTagAsReferrer: true }
`,
      );
      proxy = await ProxyProcess.start(join(scratch, 'upstream-proxy'), ['--config', config]);
      jobs = new Jobs(proxy);
      await mkdir(join(scratch, 'registry'));
      registry = await DockerRegistry.start(join(scratch, 'registry'), {
        host,
        notify: { url: `${proxy.url}/starlight/events`, authorization: `Bearer ${SECRET}` },
      });
    });
    after(async () => {
      await registry?.[Symbol.asyncDispose]();
      await proxy?.[Symbol.asyncDispose]();
    });

    it('what is pushed to the registry is converted beside it and ingested, and nothing of that again', async () => {
      await push('v1', registry.host, 'team/app:v1');
      const result = await jobs.ended('ingest', 'team/app', 'v1-starlight');
      assert.match(result.result ?? '', /^linux\/amd64 ingested sha256:/);
      assert.match(
        (await jobs.ended('convert', 'team/app', 'v1')).result ?? '',
        /^converted to v1-starlight, /,
      );
      const answer = await askDelta(proxy, 'team/app:v1-starlight');
      assert.equal(answer.status, 200);
      await answer.body?.cancel();
      const all = await jobs.idle();
      assert.deepEqual(
        all
          .filter(({ name, kind }) => name === 'team/app' && kind === 'convert')
          .map(({ reference }) => reference),
        ['v1'],
      );
      // The registry tells of every push of ours too.
      assert.deepEqual(
        all
          .filter(({ name, origin }) => name === 'team/app' && origin === 'event')
          .map(({ reference }) => reference),
        ['v1'],
      );
    });

    it('an index is converted with all its images', async () => {
      await push('both', registry.host, 'team/both:v1');
      const result = await jobs.ended('ingest', 'team/both', 'v1-starlight');
      assert.match(result.result ?? '', /linux\/amd64 ingested .*linux\/arm64 ingested/);
    });

    it('a pull of the original tag is met by the referrer, and its digest is not', async () => {
      await push('both', registry.host, 'referring/both:v1');
      await push('v2', registry.host, 'referring/app:v2');
      for (const [name, tag] of [
        ['referring/both', 'v1'],
        ['referring/app', 'v2'],
      ] as const) {
        await jobs.ended('convert', name, tag);
        const answer = await askDelta(proxy, `${name}:${tag}`);
        assert.equal(answer.status, 200, await jobs.text());
        await answer.body?.cancel();
        const { text } = await manifest(registry.host, name, tag);
        const digest = (await jobs.all()).find((job) => job.name === name && job.reference === tag)?.digest;
        assert.doesNotMatch(text, /dev\.starlight/, 'the tag names what was pushed');
        assert.equal((await askDelta(proxy, `${name}@${digest}`)).status, 404);
      }
      const origin = await fetch(`http://${registry.host}/v2/referring/app/tags/list`);
      const { tags } = (await origin.json()) as { tags: string[] };
      assert.deepEqual(
        tags.filter((tag) => !tag.startsWith('sha256-')),
        ['v2'],
      );
    });

    it('what has the tag of a result and is none is not overwritten', async () => {
      await push('v2', registry.host, 'team/taken:v2-starlight');
      await push('v1', registry.host, 'team/taken:v2');
      const job = await jobs.ended('convert', 'team/taken', 'v2', 'failed');
      assert.match(job.error ?? '', /v2-starlight is there and is no conversion of ours/);
      const { text } = await manifest(registry.host, 'team/taken', 'v2-starlight');
      assert.doesNotMatch(text, /dev\.starlight/);
    });

    it('a repository that no rule names is ingested only', async () => {
      await push('v1', registry.host, 'other/app:v1');
      assert.match((await jobs.ended('ingest', 'other/app', 'v1')).result ?? '', /^not converted: /);
      const all = await jobs.idle();
      assert.equal(
        all.some(({ name, kind }) => name === 'other/app' && kind === 'convert'),
        false,
      );
    });

    it('ctr-starlight lists, shows and cancels', async () => {
      const cli = (...args: string[]) => tryRun(CLI, [...args, '--proxy', proxy.url, '--token', TOKEN], {});
      const listed = await cli('-o', 'json', 'jobs', '--state', 'done', '--limit', '1');
      assert.equal(listed.code, 0, listed.stderr);
      const [job] = (JSON.parse(listed.stdout) as { jobs: JobView[] }).jobs;
      assert.equal(job?.state, 'done');
      const shown = await cli('jobs', 'show', job?.id ?? '');
      assert.match(shown.stdout, /^state: +done$/m);
      const cancelled = await cli('jobs', 'cancel', job?.id ?? '');
      assert.equal(cancelled.stdout, `${job?.id} done\n`);
      const unknown = await cli('jobs', 'show', 'nonsense');
      assert.equal(unknown.code, 1);
      assert.match(unknown.stderr, /JOB_UNKNOWN/);
      const refused = await tryRun(CLI, ['jobs', '--proxy', proxy.url, '--token', 'wrong'], {});
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /DENIED/);
    });
  });

  describe('with two replicas on one PostgreSQL', () => {
    const IMAGES = 6;
    let postgres: PostgresServer;
    let registry: DockerRegistry;
    let replicas: ProxyProcess[];
    before(async () => {
      postgres = await startPostgres();
      await mkdir(join(scratch, 'shared-registry'));
      registry = await DockerRegistry.start(join(scratch, 'shared-registry'));
      const config = join(scratch, 'shared.json');
      await writeFile(
        config,
        JSON.stringify({
          upstream: { url: `http://${registry.host}` },
          database: { url: await postgres.createDatabase('shared') },
          starlight: { token: TOKEN },
          // Long enough for a busy machine to renew it in time.
          events: { secret: SECRET, conversionsAtOnce: 2, leaseMs: 15_000 },
          convert: [{ match: 'team/**', tagSuffix: '-starlight' }],
        }),
      );
      replicas = [];
      for (const name of ['one', 'two']) {
        replicas.push(await ProxyProcess.start(join(scratch, name), ['--config', config]));
      }
    });
    after(async () => {
      for (const replica of replicas ?? []) await replica[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
      await postgres?.destroy();
    });

    it('nothing is lost with a replica that is killed at work, and nothing made twice', async () => {
      const [doomed, other] = replicas;
      assert.ok(doomed !== undefined && other !== undefined);
      const large = join(scratch, 'large');
      const tags = Array.from({ length: IMAGES }, (_, row) => `v${row}`);
      makeLayout(
        large,
        tags.map((tag) => ({ tag, layers: [[file('data', randomBytes(12_000_000))]] })),
      );
      const digests = new Map<string, string>();
      for (const tag of tags) {
        await run('skopeo', [
          ...['--insecure-policy', 'copy', '-q', '--preserve-digests', '--dest-tls-verify=false'],
          ...[`oci:${large}:${tag}`, `docker://${registry.host}/team/app:${tag}`],
        ]);
        const { text } = await manifest(registry.host, 'team/app', tag);
        digests.set(tag, digestOf(text));
      }
      const tell = async (replica: ProxyProcess, tag: string) => {
        const target = { mediaType: MEDIA_TYPE.ociManifest, repository: 'team/app', tag };
        const event = { action: 'push', target: { ...target, digest: digests.get(tag) } };
        const answer = await fetch(`${replica.url}/starlight/events`, {
          method: 'POST',
          headers: { authorization: SECRET },
          body: JSON.stringify({ events: [event] }),
        });
        assert.equal(answer.status, 202);
      };
      // Each is told to both, as two webhooks would.
      await Promise.all(tags.flatMap((tag) => [tell(doomed, tag), tell(other, tag)]));
      const jobs = new Jobs(other);
      await until(
        async () => {
          const running = (await jobs.all()).filter(
            ({ kind, state }) => kind === 'convert' && state === 'running',
          );
          return running.length > 2 ? true : undefined; // of which one runs two at most
        },
        () => jobs.text(),
      );
      await doomed.server.stop('SIGKILL');
      const ended = await jobs.idle();
      const asked = await originRequests(join(scratch, 'shared-registry', 'registry.log'));
      for (const tag of tags) {
        for (const [kind, reference] of [
          ['ingest', tag],
          ['convert', tag],
          ['ingest', `${tag}-starlight`],
        ] as const) {
          const found = ended.filter((job) => job.kind === kind && job.reference === reference);
          const text = `${kind} ${reference}: ${JSON.stringify(ended, undefined, 1)}`;
          assert.ok(found.length > 0 && found.every(({ state }) => state === 'done'), text);
        }
        const puts = asked.filter(({ method, path }) => {
          return method === 'PUT' && path.endsWith(`/manifests/${tag}-starlight`);
        });
        assert.equal(puts.length, 1, `${tag} was made ${puts.length} times`);
        assert.equal((await askDelta(other, `team/app:${tag}-starlight`)).status, 200);
      }
      assert.ok(
        ended.some(({ attempts }) => attempts > 1),
        'the killed one had begun something',
      );
    });
  });

  describe('with the embedded registry', () => {
    let proxy: ProxyProcess;
    let jobs: Jobs;
    before(async () => {
      const config = join(scratch, 'embedded.yaml');
      await writeFile(
        config,
        `starlight: { token: "${TOKEN}" }
convert:
  - { match: "team/**", sameTagAsReferrer: true }
`,
      );
      proxy = await ProxyProcess.start(join(scratch, 'embedded-proxy'), ['--config', config]);
      jobs = new Jobs(proxy);
    });
    after(() => proxy?.[Symbol.asyncDispose]());

    it('what is pushed to the proxy is converted and ingested without any webhook', async () => {
      await push('v1', proxy.host, 'team/app:v1');
      await jobs.ended('convert', 'team/app', 'v1');
      const answer = await askDelta(proxy, 'team/app:v1');
      assert.equal(answer.status, 200);
      await answer.body?.cancel();
      const digest = (await jobs.all()).find(({ reference }) => reference === 'v1')?.digest;
      const referrers = await fetch(`${proxy.url}/v2/team/app/referrers/${digest}`);
      const { manifests } = (await referrers.json()) as { manifests: { artifactType: string }[] };
      assert.deepEqual(
        manifests.map(({ artifactType }) => artifactType),
        [MEDIA_TYPE.starlightImage],
      );
      const all = await jobs.idle();
      assert.deepEqual(new Set(all.map(({ origin }) => origin)), new Set(['push', 'ingest', 'conversion']));
    });

    it('without a secret there are no webhooks and no scans', async () => {
      for (const [method, path] of [
        ['POST', '/starlight/events'],
        ['GET', '/api/v1/metadata'],
        ['POST', '/api/v1/scan'],
      ] as const) {
        const answer = await fetch(`${proxy.url}${path}`, { method });
        assert.equal(answer.status, 404, path);
        assert.match(await answer.text(), /is off: set events\.secret/);
      }
    });
  });
});
