import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { DirectoryError } from '../../../extensions/starlight/directory.ts';
import { openPostgres } from '../../../server/directory/postgres.ts';

describe('openPostgres()', () => {
  it('closes at once where a server that has never answered is still waited for', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo; // it listens on TCP
    const connectTimeoutMs = 3_600_000; // beyond this test's time
    const database = openPostgres({ url: `postgres://u@127.0.0.1:${port}/x`, connectTimeoutMs });
    const asked = database.query('SELECT 1').then(
      () => undefined,
      (error: unknown) => error,
    );
    await once(silent, 'connection');
    await database.close();
    for (const socket of sockets) socket.destroy();
    assert.ok((await asked) instanceof DirectoryError);
    silent.close();
  });
});
