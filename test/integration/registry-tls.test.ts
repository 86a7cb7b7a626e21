import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../scripts/lib/child.ts';
import { AuthorisingClient } from '../../server/upstream/authorising-client.ts';
import { UpstreamClient } from '../../server/upstream/upstream-client.ts';
import type { UpstreamConfig } from '../../server/upstream/upstream-config.ts';
import { UpstreamRegistry } from '../../server/upstream/upstream-registry.ts';
import { upstreamConfig } from '../support/upstream-config.ts';
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
    const { port } = server.address() as AddressInfo; // it listens on TCP
    const config = upstreamConfig(`https://${host}:${port}`, withCa ? { caFile } : {});
    const client = new UpstreamClient(config);
    try {
      await using app = await LocalApp.start(
        new UpstreamRegistry(config.url, client, new AuthorisingClient(config, client)),
      );
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
      () => new UpstreamClient(upstreamConfig('https://x', { caFile: join(directory, 'none') })),
      /ENOENT/,
    );
  });

  describe('that asks for a certificate of the client', () => {
    let strict: Server;
    before(async () => {
      const [key, cert] = await Promise.all([readFile(join(directory, 'key.pem')), readFile(caFile)]);
      const options = { key, cert, ca: cert, requestCert: true, rejectUnauthorized: true };
      strict = createServer(options, (_, response) => void response.end('{}'));
      strict.listen(0, '127.0.0.1');
      await once(strict, 'listening');
    });
    after(() => void strict?.close());

    const urlOf = (one: Server) => `https://localhost:${(one.address() as AddressInfo).port}`; // it listens on TCP
    const ask = async (settings: Partial<UpstreamConfig>, one = strict): Promise<number> => {
      const config = upstreamConfig(urlOf(one), settings);
      const client = new UpstreamClient(config);
      try {
        await using app = await LocalApp.start(
          new UpstreamRegistry(config.url, client, new AuthorisingClient(config, client)),
        );
        return (await fetch(`${app.url}/v2/`)).status;
      } finally {
        await client.close();
      }
    };
    const clientCert = () => ({ clientCertFile: caFile, clientKeyFile: join(directory, 'key.pem') });

    it('is given the one that is configured', async () => {
      assert.equal(await ask({ caFile, ...clientCert() }), 200);
    });
    it('refuses whoever has none', async () => assert.equal(await ask({ caFile }), 502));
    it('is asked without trust in its own, where that is configured', async () => {
      assert.equal(await ask({ insecureSkipVerify: true, ...clientCert() }), 200);
    });

    it('is the only one that is given it: a redirect to another host brings none', async () => {
      const redirecting = createServer(
        { key: await readFile(join(directory, 'key.pem')), cert: await readFile(caFile) },
        (_, response) => void response.writeHead(307, { location: `${urlOf(strict)}/v2/` }).end(),
      );
      redirecting.listen(0, '127.0.0.1');
      await once(redirecting, 'listening');
      try {
        assert.equal(await ask({ caFile, ...clientCert() }, redirecting), 502);
      } finally {
        redirecting.close();
      }
    });

    it('is trusted blindly alone: a redirect to another host is verified', async () => {
      const redirecting = createServer(
        { key: await readFile(join(directory, 'key.pem')), cert: await readFile(caFile) },
        (_, response) => void response.writeHead(307, { location: `${urlOf(server)}/v2/` }).end(),
      );
      redirecting.listen(0, '127.0.0.1');
      await once(redirecting, 'listening');
      try {
        assert.equal(await ask({ insecureSkipVerify: true }, redirecting), 502);
      } finally {
        redirecting.close();
      }
    });
  });
});
