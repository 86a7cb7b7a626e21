import assert from 'node:assert/strict';
import { DirectoryError } from '../../../extensions/starlight/directory.ts';
import { openPostgres } from '../../../server/directory/postgres.ts';
import { SilentServer } from '../../support/silent-server.ts';

describe('openPostgres()', () => {
  it('closes at once where a server that has never answered is still waited for', async () => {
    await using silent = await SilentServer.start();
    const connectTimeoutMs = 3_600_000; // beyond this test's time
    const database = openPostgres({ url: `postgres://u@127.0.0.1:${silent.port}/x`, connectTimeoutMs });
    const connected = silent.connected();
    const asked = database.query('SELECT 1').then(
      () => undefined,
      (error: unknown) => error,
    );
    await connected;
    await database.close();
    await silent[Symbol.asyncDispose]();
    assert.ok((await asked) instanceof DirectoryError);
  });
});
