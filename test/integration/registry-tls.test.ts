import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../scripts/lib/child.ts';
import { UpstreamClient } from '../../server/upstream/upstream-client.ts';
import { UpstreamRegistry } from '../../server/upstream/upstream-registry.ts';
import { LocalApp } from '../support/local-app.ts';

describe('an upstream over TLS', () => {
  let directory: string;
  let caFile: string;
  let server: Server;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-tls-'));
    caFile = join(directory, 'cert.pem');
    const key = join(directory, 'key.pem');
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...[
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        key,
        '-out',
        caFile,
      ],
    ]);
    server = createServer({ key: await readFile(key), cert: await readFile(caFile) }, (_, response) => {
      response.end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(async () => {
    server?.close();
    await rm(directory, { recursive: true, force: true });
  });

  async function status(host: string, withCa: boolean): Promise<number> {
    const config = {
      url: `https://${host}:${(server.address() as AddressInfo).port}`, // it listens on TCP
      ...{
        connectTimeoutMs: 2000,
        readTimeoutMs: 2000,
        headerTimeoutMs: 2000,
        idleTimeoutMs: 2000,
        connections: 2,
      },
      ...(withCa ? { caFile } : {}),
    };
    const client = new UpstreamClient(config);
    try {
      await using app = await LocalApp.start(new UpstreamRegistry(config, client));
      return (await fetch(`${app.url}/v2/`)).status;
    } finally {
      await client.close();
    }
  }

  it('is trusted by the file of certificates that is configured', async () => {
    assert.equal(await status('localhost', true), 200);
  });
  it('is not trusted without it', async () => assert.equal(await status('localhost', false), 502));
  it('is not trusted under another name', async () => assert.equal(await status('127.0.0.1', true), 502));
  it('is refused when the file cannot be read', () => {
    assert.throws(
      () =>
        new UpstreamClient({
          ...{ url: 'https://x', caFile: join(directory, 'none'), connections: 1 },
          ...{ connectTimeoutMs: 1, readTimeoutMs: 1, headerTimeoutMs: 1, idleTimeoutMs: 1 },
        }),
      /ENOENT/,
    );
  });
});
