import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { get, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ProxyProcess } from '../support/proxy-process.ts';

const MIB = 1 << 20;

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

async function beginUpload(proxy: ProxyProcess): Promise<string> {
  const begun = await fetch(`${proxy.url}/v2/a/b/blobs/uploads/`, { method: 'POST' });
  assert.equal(begun.status, 202);
  return begun.headers.get('location') ?? '';
}

async function offset(proxy: ProxyProcess, location: string): Promise<number> {
  const status = await fetch(`${proxy.url}${location}`);
  assert.equal(status.status, 204);
  return Number(/^0-(\d+)$/.exec(status.headers.get('range') ?? '')?.[1]) + 1;
}

/** Asks until something is so; the test's own time-out ends it. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(10);
}

async function pushBlob(proxy: ProxyProcess, bytes: Uint8Array): Promise<string> {
  const digest = sha256(bytes);
  const answer = await fetch(`${proxy.url}/v2/a/b/blobs/uploads/?digest=${digest}`, {
    method: 'POST',
    body: Buffer.from(bytes),
  });
  assert.equal(answer.status, 201);
  return digest;
}

describe('a proxy that ends', function () {
  this.timeout(60_000);
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-restart-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('killed in the middle of an upload, lets it go on after a restart from what had arrived', async () => {
    const bytes = randomBytes(4 * MIB);
    let location: string;
    {
      await using proxy = await ProxyProcess.start(directory);
      location = await beginUpload(proxy);
      const patch = request(`${proxy.url}${location}`, { method: 'PATCH' });
      patch.on('error', () => undefined); // the process is killed under it
      patch.write(bytes.subarray(0, 3 * MIB));
      await until(async () => (await offset(proxy, location)) >= 2 * MIB);
      await proxy.server.stop('SIGKILL');
    }
    await using again = await ProxyProcess.start(directory);
    const start = await offset(again, location);
    assert.ok(start >= 2 * MIB && start <= 3 * MIB, String(start));
    const rest = bytes.subarray(start);
    const patched = await fetch(`${again.url}${location}`, {
      method: 'PATCH',
      headers: { 'Content-Range': `${start}-${bytes.length - 1}` },
      body: rest,
    });
    assert.equal(patched.status, 202);
    const digest = sha256(bytes);
    const done = await fetch(`${again.url}${location}?digest=${digest}`, { method: 'PUT' });
    assert.equal(done.status, 201);
    const pulled = await fetch(`${again.url}/v2/a/b/blobs/${digest}`);
    assert.ok(Buffer.from(await pulled.arrayBuffer()).equals(bytes));
    assert.deepEqual(await readdir(join(again.storageDir, 'a/b/_uploads')), []);
  });

  it('ends with code 0 on SIGTERM, having let a pull in flight finish', async () => {
    await using proxy = await ProxyProcess.start(directory);
    const digest = await pushBlob(proxy, randomBytes(32 * MIB));
    const [response] = await once(get(`${proxy.url}/v2/a/b/blobs/${digest}`), 'response');
    const stopped = proxy.server.stop('SIGTERM');
    await until(async () => /"msg":"draining"/.test(proxy.server.log()));
    await assert.rejects(fetch(`${proxy.url}/v2/`), 'new connections are refused');
    let sizeBytes = 0;
    for await (const chunk of response) sizeBytes += chunk.length;
    assert.equal(sizeBytes, 32 * MIB);
    assert.equal(await stopped, 0);
    assert.match(proxy.server.log(), /"clean":true/);
  });

  it('cuts on SIGTERM what does not finish within the limit, and ends with code 0', async () => {
    await using proxy = await ProxyProcess.start(directory, ['--shutdown-drain-limit-ms', '300']);
    const digest = await pushBlob(proxy, randomBytes(32 * MIB));
    const [response] = await once(get(`${proxy.url}/v2/a/b/blobs/${digest}`), 'response');
    response.pause();
    assert.equal(await proxy.server.stop('SIGTERM'), 0);
    assert.match(proxy.server.log(), /"clean":false/);
    await assert.rejects(async () => {
      for await (const _ of response);
    }, /aborted|ECONNRESET/);
  });

  it('ends at once on a second SIGTERM', async () => {
    await using proxy = await ProxyProcess.start(directory, ['--shutdown-drain-limit-ms', '86400000']);
    const digest = await pushBlob(proxy, randomBytes(32 * MIB));
    const [response] = await once(get(`${proxy.url}/v2/a/b/blobs/${digest}`), 'response');
    response.pause();
    response.on('error', () => undefined); // it is cut
    const stopped = proxy.server.stop('SIGTERM', 86_400_000);
    await until(async () => /"msg":"draining"/.test(proxy.server.log()));
    proxy.server.signal('SIGTERM');
    assert.equal(await stopped, -1, 'by the signal');
  });

  it('does not start with a faulty configuration, and names every fault', async () => {
    await assert.rejects(
      ProxyProcess.start(directory, ['--log-level', 'loud', '--bogus', '--upstream-url', 'ftp://x']),
      (error: Error) => {
        for (const part of [
          /--log-level: expected one of/,
          /--bogus: unknown flag/,
          /--upstream-url: expected/,
        ]) {
          assert.match(error.message, part);
        }
        return true;
      },
    );
  });
});
