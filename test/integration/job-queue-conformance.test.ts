import { jobQueueSuite } from '../../conformance/jobs/job-queue-suite.ts';
import { openStores } from '../../server/directory/open.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';

describe('the queue of jobs on PGlite', function () {
  this.timeout(120_000);

  jobQueueSuite('PGlite in memory', async (jobLimits, nowMs) => {
    const { directory, jobs } = await openStores({ kind: 'pglite' }, { jobLimits, nowMs });
    return { one: jobs, two: jobs, close: () => directory.close() };
  });
});

describe('the queue of jobs on PostgreSQL', function () {
  this.timeout(120_000);
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server?.destroy());

  jobQueueSuite('PostgreSQL', async (jobLimits, nowMs) => {
    const url = await server.createDatabase('jobs');
    const open = () => openStores({ kind: 'postgres', url }, { jobLimits, nowMs });
    const [first, second] = await Promise.all([open(), open()]);
    const close = async () => {
      await Promise.all([first.directory.close(), second.directory.close()]);
    };
    return { one: first.jobs, two: second.jobs, close };
  });
});
