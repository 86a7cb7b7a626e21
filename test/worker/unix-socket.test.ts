import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, lstatSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openSocket, type UnixSocket } from '../../worker/unix-socket.ts';

describe('openSocket()', () => {
  let root = '';
  let path = '';
  const servers: Server[] = [];
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-socket-'));
    path = join(root, 'run/deep/s.sock');
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) {
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    }
    await rm(root, { recursive: true });
  });

  const serve = (): Promise<UnixSocket> =>
    openSocket(path, async (draft) => {
      const server = createServer((connection) => connection.end());
      servers.push(server);
      server.listen(draft);
      await once(server, 'listening');
    });
  const close = async (): Promise<void> => {
    await new Promise((resolve) => servers.pop()?.close(resolve));
  };

  it('makes a socket that only its owner may open, alone in its directory', async () => {
    await serve();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dirname(path)), ['s.sock']);
  });

  it('takes it away when it is released, once', async () => {
    const socket = await serve();
    await close();
    assert.ok(lstatSync(path).isSocket());
    await socket.release();
    assert.ok(!existsSync(path));
    await socket.release();
  });

  it('replaces the socket of a process that is gone', async () => {
    await serve();
    await close();
    const socket = await serve();
    await close();
    await socket.release();
    assert.ok(!existsSync(path));
  });

  it('leaves what another process has put there meanwhile', async () => {
    const first = await serve();
    const aside = `${path}.aside`; // keeps the inode, so that the second has another
    renameSync(path, aside);
    await serve();
    await first.release();
    assert.ok(lstatSync(path).isSocket());
  });

  it('refuses a socket on which a process answers, and leaves it', async () => {
    await serve();
    const { ino } = lstatSync(path);
    await assert.rejects(serve(), /another process listens/);
    assert.equal(lstatSync(path).ino, ino);
  });

  it('refuses to replace a file', async () => {
    await serve().then((socket) => socket.release());
    writeFileSync(path, 'precious');
    await assert.rejects(serve(), /not a socket/);
    assert.ok(lstatSync(path).isFile());
  });

  it('refuses a path too long for a socket, and leaves nothing behind', async () => {
    path = join(root, 'n'.repeat(100), 's.sock');
    await assert.rejects(serve(), /too long/);
    assert.deepEqual(readdirSync(dirname(path)), []);
  });

  it('leaves nothing behind when the server cannot listen', async () => {
    await assert.rejects(
      openSocket(path, () => Promise.reject(new Error('no'))),
      /^Error: no$/,
    );
    assert.deepEqual(readdirSync(dirname(path)), []);
  });
});
