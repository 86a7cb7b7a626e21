import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { Agent, request } from 'undici';
import { anonymous, basicAuthorization } from '../../schemas/registry-auth/credentials.ts';
import { readClientTls } from '../../schemas/tls/client-tls.ts';
import { run, tryRun } from '../../scripts/lib/child.ts';
import { ProxyClient } from '../../worker/download/proxy-client.ts';
import { type MadeCertificate, makeAuthority, makeCertificate } from '../support/certificates.ts';
import { makeLayout } from '../support/images.ts';
import { OPEN_SESAME } from '../support/open-sesame.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { directory, file } from '../support/tar.ts';

const CLI = new URL('../../bin/ctr-starlight', import.meta.url).pathname;
const SIGNAL = new AbortController().signal;
const CREDENTIALS = { username: 'ann', password: 'open sesame' };
const REPOSITORY = 'team/app';

describe('a proxy with HTTPS and users', function () {
  this.timeout(180_000);
  let root: string;
  let authority: MadeCertificate;
  let client: MadeCertificate;
  let proxy: ProxyProcess;
  let env: Record<string, string>;
  const certFile = () => join(root, 'cert.pem');
  const keyFile = () => join(root, 'key.pem');
  const tls = () => ({ caFile: authority.certFile, ...client });

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-test-https-'));
    authority = await makeAuthority(root, 'authority');
    client = await makeCertificate(root, 'client', authority);
    await install(await makeCertificate(root, 'first', authority));
    await writeFile(join(root, 'htpasswd'), `ann:${OPEN_SESAME}\n`);
    makeLayout(join(root, 'layout'), [{ tag: 'v1', layers: [[directory('bin'), file('bin/app', 'x')]] }]);
    proxy = await ProxyProcess.start(join(root, 'proxy'), [
      ...['--tls-cert-file', certFile(), '--tls-key-file', keyFile()],
      ...['--tls-client-ca-file', authority.certFile, '--access-htpasswd-file', join(root, 'htpasswd')],
    ]);
    const auth = Buffer.from(`${CREDENTIALS.username}:${CREDENTIALS.password}`).toString('base64');
    const home = join(root, 'docker');
    await mkdir(home);
    await writeFile(join(home, 'config.json'), JSON.stringify({ auths: { [proxy.host]: { auth } } }));
    env = { DOCKER_CONFIG: home };
  });
  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  async function install(pair: MadeCertificate): Promise<void> {
    await copyFile(pair.keyFile, keyFile());
    await copyFile(pair.certFile, certFile());
  }

  async function shown(): Promise<string> {
    const socket = connect({ host: '127.0.0.1', port: proxy.port, ...readClientTls(tls()) });
    await once(socket, 'secureConnect');
    const name = String(socket.getPeerCertificate().subject.CN);
    socket.destroy();
    return name;
  }

  const flags = () => [
    ...['--ca-file', authority.certFile, '--client-cert', client.certFile, '--client-key', client.keyFile],
  ];

  it('is pushed to and told of an image by the command line, with a login of docker', async () => {
    const reference = `${proxy.host}/${REPOSITORY}:v1`;
    const url = `https://${proxy.host}`;
    const source = `oci:${join(root, 'layout')}:v1`;
    await run(CLI, ['convert', '--notify', '--proxy', url, ...flags(), source, reference], { env });
    const told = JSON.parse(
      await run(CLI, ['-o', 'json', 'notify', '--proxy', url, ...flags(), reference], { env }),
    );
    assert.equal(told.images[0].status, 'already');
    const user = `${CREDENTIALS.username}:${CREDENTIALS.password}`;
    await run(CLI, ['notify', '--proxy', url, '-u', user, ...flags(), reference]);
  });

  it('is not trusted by the command line without its authority, which says so', async () => {
    const reference = `${proxy.host}/${REPOSITORY}:v1`;
    const failed = await tryRun(CLI, ['notify', '--proxy', `https://${proxy.host}`, reference], { env });
    assert.notEqual(failed.code, 0);
    assert.match(failed.stderr, /--ca-file/);
  });

  it('gives a worker its bundles, by its files for TLS', async () => {
    const worker = (files: object) =>
      new ProxyClient({
        url: `https://${proxy.host}`,
        ...{ connectTimeoutMs: 20_000, headerTimeoutMs: 20_000, idleTimeoutMs: 20_000 },
        ...{ nowMs: () => Date.now(), tls: readClientTls(files) },
      });
    const question = { to: `${REPOSITORY}:v1`, from: [], platform: 'linux/amd64' };
    const scope = { host: '', repository: REPOSITORY, credentials: () => Promise.resolve(CREDENTIALS) };
    const good = worker(tls());
    try {
      const { body, lengthBytes } = await good.delta(question, scope, undefined, SIGNAL);
      let bytes = 0;
      for await (const chunk of body) bytes += chunk.byteLength;
      assert.equal(bytes, lengthBytes);
      const nobody = { ...scope, credentials: () => anonymous('', SIGNAL) };
      const stranger = worker(tls());
      await assert.rejects(stranger.delta(question, nobody, undefined, SIGNAL), /wants a login/);
      await stranger.close();
    } finally {
      await good.close();
    }
    for (const files of [{}, { caFile: authority.certFile }]) {
      const bad = worker(files);
      await assert.rejects(bad.delta(question, scope, undefined, SIGNAL), /cannot be reached/);
      await bad.close();
    }
  });

  it('is a registry of skopeo’s, with its certificate and login', async () => {
    const certs = join(root, 'certs');
    await mkdir(certs);
    await copyFile(authority.certFile, join(certs, 'ca.crt'));
    await copyFile(client.certFile, join(certs, 'client.cert'));
    await copyFile(client.keyFile, join(certs, 'client.key'));
    const image = `docker://${proxy.host}/${REPOSITORY}:v1`;
    const creds = `${CREDENTIALS.username}:${CREDENTIALS.password}`;
    const inspected = await run('skopeo', ['inspect', '--cert-dir', certs, '--creds', creds, image]);
    assert.match(inspected, /"Layers"/);
    const refused = await tryRun('skopeo', ['inspect', '--cert-dir', certs, '--creds', 'ann:wrong', image]);
    assert.notEqual(refused.code, 0);
  });

  it('shows its new certificate when it is told to look, and keeps it while a new pair is broken', async () => {
    assert.equal(await shown(), 'first');
    await install(await makeCertificate(root, 'second', authority));
    while ((await shown()) !== 'second') process.kill(proxy.server.pid, 'SIGHUP');
    await writeFile(certFile(), 'nothing');
    process.kill(proxy.server.pid, 'SIGHUP');
    const logs = await readdir(join(root, 'proxy'));
    const logFile = join(root, 'proxy', logs.find((name) => name.endsWith('.log')) ?? '');
    const log = () => readFile(logFile, 'utf8');
    const name = 'certificate not read again: the one from before stays';
    while (!(await log()).includes(name)) await new Promise(setImmediate);
    assert.equal(await shown(), 'second');
  });

  it('answers who presents no certificate nothing at all', async () => {
    const agent = new Agent({ connect: readClientTls({ caFile: authority.certFile }) });
    const headers = { authorization: basicAuthorization(CREDENTIALS) };
    await assert.rejects(request(`https://${proxy.host}/v2/`, { dispatcher: agent, headers }));
    await agent.destroy();
  });
});
