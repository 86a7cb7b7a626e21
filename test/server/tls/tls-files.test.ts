import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { type HttpServer, listen } from '../../../server/http-server.ts';
import { TlsFiles, TlsFilesError, type TlsFilesOptions } from '../../../server/tls/tls-files.ts';
import { type MadeCertificate, makeAuthority, makeCertificate } from '../../support/certificates.ts';

type Outcome = Parameters<TlsFilesOptions['onReload']>[0];

describe('TlsFiles', function () {
  this.timeout(60_000);
  let directory: string;
  let authority: MadeCertificate;
  let made: Readonly<Record<'first' | 'second', MadeCertificate>>;
  let config: { certFile: string; keyFile: string; minVersion: 'TLSv1.2' | 'TLSv1.3' };
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-tls-'));
    authority = await makeAuthority(directory, 'authority');
    made = {
      first: await makeCertificate(directory, 'first', authority),
      second: await makeCertificate(directory, 'second', authority),
    };
    config = { certFile: join(directory, 'cert'), keyFile: join(directory, 'key'), minVersion: 'TLSv1.2' };
  });
  after(() => rm(directory, { recursive: true, force: true }));
  beforeEach(() => place('first', 'first'));

  async function place(cert: 'first' | 'second', key: 'first' | 'second'): Promise<void> {
    await copyFile(made[cert].certFile, `${config.certFile}.new`);
    await copyFile(made[key].keyFile, `${config.keyFile}.new`);
    await rename(`${config.certFile}.new`, config.certFile);
    await rename(`${config.keyFile}.new`, config.keyFile);
  }

  /** The proxy's server with the files; `next` waits for what comes of a change. */
  async function serve(): Promise<
    AsyncDisposable & { server: HttpServer; files: TlsFiles; next(): Promise<Outcome> }
  > {
    const outcomes: Outcome[] = [];
    let told = () => undefined as undefined;
    const files = await TlsFiles.open({
      config,
      pollMs: 5,
      onReload: (outcome) => {
        if ('identity' in outcome) server.secure(outcome.identity.options);
        outcomes.push(outcome);
        told();
      },
    });
    const server = await listen((_, response) => response.end('{}'), {
      ...{ host: '127.0.0.1', port: 0, idleTimeoutMs: 60_000, tls: files.identity.options },
    });
    return {
      server,
      files,
      next: async () => {
        for (;;) {
          const outcome = outcomes.shift();
          if (outcome !== undefined) return outcome;
          await new Promise<void>((resolve) => {
            told = () => void resolve();
          });
        }
      },
      [Symbol.asyncDispose]: async () => {
        await files[Symbol.asyncDispose]();
        await server.close(AbortSignal.abort());
      },
    };
  }

  async function shake(port: number, options: object = {}): Promise<TLSSocket> {
    const ca = await readFile(authority.certFile);
    const socket = connect({ host: '127.0.0.1', port, ca, servername: 'localhost', ...options });
    await once(socket, 'secureConnect');
    return socket;
  }

  async function shownTo(port: number, options?: object): Promise<string> {
    const socket = await shake(port, options);
    const name = String(socket.getPeerCertificate().subject.CN);
    socket.destroy();
    return name;
  }

  /** Reads until a pair is in use: two files do not change at once. */
  async function untilLoaded(next: () => Promise<Outcome>): Promise<void> {
    for (let outcome = await next(); 'error' in outcome; outcome = await next());
  }

  it('shows a new certificate to new connections, and leaves those that are open', async () => {
    await using served = await serve();
    const { port } = served.server.address;
    const open = await shake(port);
    assert.equal(await shownTo(port), 'first');
    await place('second', 'second');
    await untilLoaded(served.next);
    while ((await shownTo(port)) !== 'second') await served.next();
    open.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const [answer] = await once(open, 'data');
    assert.match(String(answer), /^HTTP\/1\.1 200 /);
    open.destroy();
  });

  it('keeps the old pair when the new one is broken, and takes a good one after that', async () => {
    await using served = await serve();
    const { port } = served.server.address;
    const broken: readonly (readonly [what: string, break_: () => Promise<void>])[] = [
      ['the key of another', () => copyFile(made.second.keyFile, config.keyFile)],
      ['no certificate', () => writeFile(config.certFile, 'nothing')],
      ['no file', () => rm(config.certFile)],
    ];
    for (const [what, break_] of broken) {
      await break_();
      for (let outcome = await served.next(); !('error' in outcome); outcome = await served.next());
      assert.equal(await shownTo(port), 'first', what);
    }
    await place('second', 'second');
    while ((await shownTo(port)) !== 'second') await served.next();
  });

  it('reads again when it is told to', async () => {
    await using served = await serve();
    await served.files.reload();
    assert.ok('identity' in (await served.next()));
  });

  it('speaks no version older than is set', async () => {
    config = { ...config, minVersion: 'TLSv1.3' };
    try {
      await using served = await serve();
      const { port } = served.server.address;
      assert.equal(await shownTo(port), 'first');
      await assert.rejects(shownTo(port, { maxVersion: 'TLSv1.2' }), /protocol version/);
    } finally {
      config = { ...config, minVersion: 'TLSv1.2' };
    }
  });

  it('is not opened with what is no pair', async () => {
    await place('first', 'second');
    const open = TlsFiles.open({ config, onReload: () => undefined });
    await assert.rejects(open, (error: unknown) => {
      assert.ok(error instanceof TlsFilesError);
      assert.match(error.message, /^tls: .*cert, .*key: not a certificate and its key: .*mismatch/);
      return true;
    });
  });

  it('is not opened with authorities that are none', async () => {
    const clientCaFile = join(directory, 'none');
    await writeFile(clientCaFile, 'nothing');
    const open = TlsFiles.open({ config: { ...config, clientCaFile }, onReload: () => undefined });
    await assert.rejects(open, TlsFilesError);
  });
});
