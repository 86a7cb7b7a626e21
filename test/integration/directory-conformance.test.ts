import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { directorySuite } from '../../conformance/directory/directory-suite.ts';
import { DirectoryError } from '../../extensions/starlight/directory.ts';
import { digestOf } from '../../schemas/oci/digest.ts';
import { migrate, readMigrations } from '../../server/directory/migrations.ts';
import { openDirectory } from '../../server/directory/open.ts';
import { openPglite } from '../../server/directory/pglite.ts';
import { openPostgres } from '../../server/directory/postgres.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';

const SIGNAL = new AbortController().signal;

describe('the directory on PGlite', function () {
  this.timeout(120_000);
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-pglite-'));
  });
  after(() => rm(root, { recursive: true, force: true }));

  directorySuite('PGlite in memory', async () => {
    const directory = await openDirectory({ kind: 'pglite' });
    return [directory, directory];
  });

  directorySuite('PGlite on disk', async () => {
    const directory = await openDirectory({ kind: 'pglite', path: join(root, 'suite') });
    return [directory, directory];
  });

  it('keeps what was written, refuses a second process, and opens again', async () => {
    const path = join(root, 'kept');
    const ranks = [{ path: Buffer.from('a'), content: 0, rankSum: 1, hits: 1 }];
    const bytes = randomBytes(9);
    const document = { digest: digestOf(bytes), mediaType: 'application/json', bytes };
    const image = {
      manifest: document,
      config: document,
      platform: 'linux/amd64',
      tocDigest: document.digest,
      tocBound: false,
      toc: { bytes, sizeBytes: 9 },
      shown: { bytes, sizeBytes: 9 },
      layers: [],
    };
    const first = await openDirectory({ kind: 'pglite', path });
    const repository = { registry: '', name: 'a' };
    await first.record({ repository, layers: [], images: [{ image, inherited: ranks }], known: [] }, SIGNAL);
    await assert.rejects(
      openPglite(path),
      (error) => error instanceof DirectoryError && error.fault.kind === 'unavailable',
    );
    await first.close();
    const second = await openDirectory({ kind: 'pglite', path });
    assert.equal((await second.image(document.digest, SIGNAL))?.tocBound, false);
    assert.equal((await second.ranks(document.digest, SIGNAL)).ranks.length, 1);
    await second.close();
  });
});

describe('the directory on PostgreSQL', function () {
  this.timeout(120_000);
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server?.destroy());

  directorySuite('PostgreSQL', async () => {
    const url = await server.createDatabase('suite');
    // Both at once, on an empty database: one of them migrates, the other waits.
    const [one, two] = await Promise.all([
      openDirectory({ kind: 'postgres', url }),
      openDirectory({ kind: 'postgres', url }),
    ]);
    return [one, two];
  });

  it('is migrated once by five processes that start at once', async () => {
    const url = await server.createDatabase('migrations');
    const migrations = await readMigrations();
    const databases = Array.from({ length: 5 }, () => openPostgres({ url }));
    const applied = await Promise.all(databases.map((database) => migrate(database, migrations)));
    await Promise.all(databases.map((database) => database.close()));
    assert.deepEqual(
      applied.flat(),
      migrations.map(({ version }) => version),
    );
  });

  it('says unavailable while the server is away, and goes on when it is back', async () => {
    const url = await server.createDatabase('outage');
    const directory = await openDirectory({ kind: 'postgres', url, connectTimeoutMs: 2_000 });
    const unknown = digestOf('unknown');
    await server.stop();
    await assert.rejects(
      directory.image(unknown, SIGNAL),
      (error) => error instanceof DirectoryError && error.fault.kind === 'unavailable',
    );
    await assert.rejects(
      directory.record(
        { repository: { registry: '', name: 'a' }, layers: [], images: [], known: [] },
        SIGNAL,
      ),
      (error) => error instanceof DirectoryError && error.fault.kind === 'unavailable',
    );
    await server.start();
    assert.equal(await directory.image(unknown, SIGNAL), undefined);
    await directory.close();
  });
});
