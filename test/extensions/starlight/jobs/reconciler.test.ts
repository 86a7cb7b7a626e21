import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Directory } from '../../../../extensions/starlight/directory.ts';
import { ImageStore } from '../../../../extensions/starlight/image-store.ts';
import { Ingester } from '../../../../extensions/starlight/ingest.ts';
import { JobIntake } from '../../../../extensions/starlight/jobs/intake.ts';
import { JOB_LIMITS, type JobQueue } from '../../../../extensions/starlight/jobs/job-queue.ts';
import type { JobRegistry } from '../../../../extensions/starlight/jobs/job-registry.ts';
import { Reconciler, type Reconciliation } from '../../../../extensions/starlight/jobs/reconciler.ts';
import { openStores } from '../../../../server/directory/open.ts';
import { file } from '../../../support/tar.ts';
import { until } from '../../../support/until.ts';
import { FakeRegistry } from '../fake-registry.ts';
import { type MadeImage, makeImage } from '../made-image.ts';
import { FakeClock } from './fake-clock.ts';

const SIGNAL = new AbortController().signal;
const EVERY_MS = 60_000;
const MAX_OPEN = 4;

describe('Reconciler', function () {
  this.timeout(60_000);
  const clock = new FakeClock();
  let directory: Directory;
  let queue: JobQueue;
  let registry: FakeRegistry;
  let image: MadeImage;
  let key: string;
  let errors: string[];
  let rounds: Reconciliation[];
  let running: Reconciler[];
  before(async () => {
    const jobLimits = { ...JOB_LIMITS, maxOpen: MAX_OPEN };
    ({ directory, jobs: queue } = await openStores(
      { kind: 'pglite' },
      { jobLimits, nowMs: () => clock.nowMs() },
    ));
    image = await makeImage([[file('app', 'x')]]);
  });
  after(() => directory?.close());
  beforeEach(() => {
    registry = new FakeRegistry();
    key = `${randomBytes(4).toString('hex')}.example`;
    errors = [];
    rounds = [];
    running = [];
  });
  afterEach(async () => {
    for (const one of running) await one.close();
    for (const { id } of await queue.list({ limit: 100 }, SIGNAL)) await queue.cancel(id, SIGNAL);
  });

  /** The registry above, with its tags; `catalog` false is one that does not tell its repositories. */
  const jobRegistry = (catalog: boolean, broken: readonly string[] = []): JobRegistry => ({
    reader: registry,
    source: () => assert.fail('nothing is converted'),
    sink: () => assert.fail('nothing is converted'),
    tags: async (name) => {
      if (broken.includes(name)) throw new Error(`${name} cannot be listed`);
      const { manifests } = registry.repository(name);
      return [...manifests.keys()].filter((reference) => !reference.includes(':'));
    },
    repositories: async () => (catalog ? [...registry.repositories.keys()] : undefined),
  });
  const reconciler = (one: JobRegistry, owner = 'a'): Reconciler => {
    const intake = new JobIntake({ queue, patterns: ['team/**'], wake: () => undefined });
    return new Reconciler({
      ...{ directory, queue, intake, owner, clock, everyMs: EVERY_MS, keys: ['gone.example', key] },
      registries: (asked) => (asked === key ? one : undefined),
      random: () => 0.5,
      onEnd: (event) => rounds.push(event),
      onError: (error, where) => errors.push(`${where}: ${error instanceof Error ? error.message : ''}`),
    });
  };
  const open = async () =>
    (await queue.list({ limit: 100, state: 'queued' }, SIGNAL)).map(
      ({ name, reference, origin, digest }) =>
        `${name}:${reference} ${origin} ${digest === image.manifest.digest}`,
    );

  it('has ingested what nobody told of, and nothing twice', async () => {
    registry.push('team/app', 'v1', image);
    registry.push('other/app', 'v1', image);
    const one = reconciler(jobRegistry(true));
    assert.deepEqual(await one.reconcile(SIGNAL), { repositories: 1, tags: 1, missed: 1 });
    assert.deepEqual(await open(), ['team/app:v1 reconciliation true']);
    assert.deepEqual(await one.reconcile(SIGNAL), { repositories: 1, tags: 1, missed: 0 });
  });

  it('leaves what the directory knows, until the tag moves', async () => {
    registry.push('team/app', 'v1', image);
    const ingester = new Ingester({ directory, images: new ImageStore(directory, 1 << 20) });
    const repository = { registry: key, reader: registry, name: 'team/app', auth: undefined };
    await ingester.ingest(repository, 'v1', SIGNAL);
    const one = reconciler(jobRegistry(true));
    assert.deepEqual(await one.reconcile(SIGNAL), { repositories: 1, tags: 1, missed: 0 });
    registry.push('team/app', 'v1', await makeImage([[file('app', 'y')]]));
    assert.deepEqual(await one.reconcile(SIGNAL), { repositories: 1, tags: 1, missed: 1 });
  });

  it('goes through the repositories of the directory where the registry does not tell its own', async () => {
    registry.push('team/app', 'v1', image);
    registry.push('team/unknown', 'v1', image);
    const ingester = new Ingester({ directory, images: new ImageStore(directory, 1 << 20) });
    const repository = { registry: key, reader: registry, name: 'team/app', auth: undefined };
    await ingester.ingest(repository, 'v1', SIGNAL);
    registry.push('team/app', 'v2', image);
    await reconciler(jobRegistry(false)).reconcile(SIGNAL);
    assert.deepEqual(await open(), ['team/app:v2 reconciliation true']);
  });

  it('goes on after a repository that cannot be listed, and passes over lists of referrers', async () => {
    registry.push('team/a', 'v1', image);
    registry.push('team/b', 'v1', image);
    registry.push('team/b', `sha256-${'0'.repeat(64)}`, image);
    registry.push('team/b', `sha256-${'0'.repeat(64)}.sig`, image);
    const counts = await reconciler(jobRegistry(true, ['team/a'])).reconcile(SIGNAL);
    assert.deepEqual(counts, { repositories: 2, tags: 1, missed: 1 });
    assert.deepEqual(errors, [`${key}/team/a: team/a cannot be listed`]);
  });

  it('ends a round when the queue is full', async () => {
    for (let row = 0; row < MAX_OPEN + 3; row += 1) registry.push(`team/n${row}`, 'v1', image);
    const counts = await reconciler(jobRegistry(true)).reconcile(SIGNAL);
    assert.equal(counts.missed, MAX_OPEN);
    assert.match(errors.join(), /the queue is full/);
  });

  it('is done by one of two replicas, again and again', async () => {
    registry.push('team/app', 'v1', image);
    for (const owner of ['a', 'b']) {
      const one = reconciler(jobRegistry(true), owner);
      running.push(one);
      one.start();
    }
    for (const wanted of [1, 2]) {
      await until(
        async () => {
          if (rounds.length >= wanted) return true;
          clock.advance(EVERY_MS / 20);
          return undefined;
        },
        () => `only ${rounds.length} rounds`,
      );
    }
    assert.deepEqual(errors, []);
  });
});
