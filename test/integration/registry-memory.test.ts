import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import { DockerRegistry } from '../support/docker-registry.ts';
import { ProxyProcess } from '../support/proxy-process.ts';

const MIB = 1 << 20;
const BLOB_BYTES = 2048 * MIB;
const LIMIT_BYTES = 100 * MIB;

/** Two gigabytes that no compression and no cache can shorten, made as they are read. */
function* blocks(seen: (block: Buffer) => void): Generator<Buffer> {
  for (let at = 0; at < BLOB_BYTES / MIB; at += 1) {
    const block = Buffer.alloc(MIB, (at * 167) & 0xff);
    block.writeUInt32LE(at, 0);
    seen(block);
    yield block;
  }
}

/** Pushes the blob by streaming it in one PATCH; answers its digest and checksum. */
async function push(host: string): Promise<{ digest: string; checksum: number }> {
  const begun = await fetch(`http://${host}/v2/big/blob/blobs/uploads/`, { method: 'POST' });
  assert.equal(begun.status, 202);
  const url = new URL(begun.headers.get('location') ?? '', `http://${host}`);
  const hash = createHash('sha256');
  let checksum = 0;
  const source = Readable.from(
    blocks((block) => {
      hash.update(block);
      checksum = crc32(block, checksum);
    }),
    { objectMode: false },
  );
  const patch = request(url, { method: 'PATCH', headers: { 'Content-Type': 'application/octet-stream' } });
  const answered = new Promise<string>((resolve, reject) => {
    patch.once('error', reject);
    patch.once('response', (response) => {
      response.resume();
      assert.equal(response.statusCode, 202);
      resolve(response.headers.location ?? '');
    });
  });
  await pipeline(source, patch);
  const finish = new URL(await answered, url);
  const digest = `sha256:${hash.digest('hex')}`;
  finish.searchParams.set('digest', digest);
  const done = await fetch(finish, { method: 'PUT' });
  assert.equal(done.status, 201, await done.text());
  return { digest, checksum };
}

async function pull(host: string, digest: string): Promise<{ sizeBytes: number; checksum: number }> {
  const response = await fetch(`http://${host}/v2/big/blob/blobs/${digest}`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-length'), String(BLOB_BYTES));
  let sizeBytes = 0;
  let checksum = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    checksum = crc32(chunk, checksum);
  }
  return { sizeBytes, checksum };
}

/**
 * A proxy whose database was made by an earlier start: making it takes hundreds of megabytes, which stay with
 * the process and would hide what blobs take.
 */
async function startedAgain(directory: string, flags: readonly string[] = []): Promise<ProxyProcess> {
  await (await ProxyProcess.start(directory, flags)).server.stop();
  return ProxyProcess.start(directory, flags);
}

async function assertLittleMemory(proxy: ProxyProcess, pulls = 1): Promise<void> {
  await (await fetch(`${proxy.url}/v2/`)).arrayBuffer();
  await proxy.resetPeak();
  const before = await proxy.peakBytes();
  const { digest, checksum } = await push(proxy.host);
  for (let count = 0; count < pulls; count += 1) {
    assert.deepEqual(await pull(proxy.host, digest), { sizeBytes: BLOB_BYTES, checksum });
  }
  const grownBytes = (await proxy.peakBytes()) - before;
  assert.ok(grownBytes < LIMIT_BYTES, `the peak grew by ${Math.round(grownBytes / MIB)} MiB`);
}

describe('a blob of 2 GB', function () {
  this.timeout(600_000);
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-memory-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('takes the proxy less than 100 MB, pushed to the embedded registry and pulled from it', async () => {
    await using proxy = await startedAgain(directory);
    await assertLittleMemory(proxy);
  });

  it('takes the proxy less than 100 MB, pushed and pulled through it', async () => {
    await using upstream = await DockerRegistry.start(directory);
    await using proxy = await startedAgain(directory, ['--upstream-url', `http://${upstream.host}`]);
    await assertLittleMemory(proxy);
  });

  it('takes the proxy less than 100 MB, pulled into its cache and from there', async () => {
    await using upstream = await DockerRegistry.start(directory);
    const cache = ['--mirror-dir', join(directory, 'mirror'), '--mirror-max-bytes', String(2 * BLOB_BYTES)];
    await using proxy = await startedAgain(directory, [
      '--upstream-url',
      `http://${upstream.host}`,
      ...cache,
    ]);
    await assertLittleMemory(proxy, 2);
  });
});
