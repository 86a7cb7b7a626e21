import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, tryRun } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { makeAuthority, makeCertificate } from '../support/certificates.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { OPEN_SESAME } from '../support/open-sesame.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { skip } from '../support/skip.ts';
import { directory as dir, file } from '../support/tar.ts';

const CLI = new URL('../../bin/ctr-starlight', import.meta.url).pathname;
const NAME = 'team/app';
const TAGS = ['plain', 'tls', 'default', 'down'];

/** What the command writes is read by a real containerd. */
describe('ctr-starlight mirrors', function () {
  this.timeout(240_000);
  const stack = new AsyncDisposableStack();
  let root: string;
  let origin: DockerRegistry;
  let upstreams: object[];
  let proxy: ProxyProcess;
  let containerd: PrivateContainerd;

  before(async function () {
    if (process.getuid?.() !== 0) skip(this, 'not root');
    root = await mkdtemp('/tmp/sl-'); // short: it becomes part of mount options and socket names
    stack.defer(() => rm(root, { recursive: true, force: true }));
    await mkdir(join(root, 'origin'));
    origin = stack.use(await DockerRegistry.start(join(root, 'origin')));
    const layout = join(root, 'layout');
    makeLayout(
      layout,
      TAGS.map((tag) => ({ tag, layers: [[dir('bin'), file('bin/app', `the program of ${tag}`)]] })),
    );
    for (const tag of TAGS) {
      const flags = ['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false'];
      await run('skopeo', [...flags, `oci:${layout}:${tag}`, `docker://${origin.host}/${NAME}:${tag}`]);
    }
    upstreams = [
      { name: 'lan', url: `http://${origin.host}`, hosts: [origin.host] },
      { name: 'hub', url: 'https://hub.invalid', hosts: ['docker.io'], prefix: 'hub' },
      { name: 'own', embedded: true, default: true },
    ];
    const config = join(root, 'proxy.json');
    await writeFile(config, JSON.stringify({ upstreams }));
    proxy = stack.use(await ProxyProcess.start(join(root, 'proxy'), ['--config', config]));
    containerd = stack.use(await PrivateContainerd.start({ directory: join(root, 'c') }));
  });
  after(() => stack[Symbol.asyncDispose]());

  const pull = (certsDir: string, tag: string) =>
    containerd.ctr(
      ...['images', 'pull', '--hosts-dir', certsDir, '--snapshotter', 'native'],
      `${origin.host}/${NAME}:${tag}`,
    );
  /** The line of the log by which a proxy served a tag of the origin. */
  const served = (front: ProxyProcess, tag: string): Promise<void> => {
    const url = `manifests/${tag}?ns=${encodeURIComponent(origin.host)}`;
    return front.logged(new RegExp(`${RegExp.escape(url)}","status":200`));
  };

  it('is told by the proxy what it stands for, and that it can tell', async () => {
    const list = await (await fetch(`${proxy.url}/starlight/upstreams`)).json();
    const lan = { host: origin.host, server: `http://${origin.host}` };
    const hub = { host: 'docker.io', server: 'https://registry-1.docker.io' };
    assert.deepEqual(list, {
      upstreams: [
        { name: 'lan', default: false, anyHost: false, namespaces: [lan] },
        { name: 'hub', prefix: 'hub', default: false, anyHost: false, namespaces: [hub] },
        { name: 'own', default: true, anyHost: false, namespaces: [] },
      ],
    });
    const discovery = await (await fetch(`${proxy.url}/v2/_oci/ext/discover`)).text();
    assert.ok(discovery.includes('"/starlight/upstreams"'), discovery);
  });

  it('writes what leads containerd through the proxy', async () => {
    const certsDir = join(root, 'certs.d');
    const { code, stdout, stderr } = await tryRun(CLI, [
      ...['mirrors', '--proxy', proxy.url, '--certs-dir', certsDir, '--write'],
    ]);
    assert.equal(code, 0, stderr);
    const lines = [origin.host, 'docker.io'].map((host) => `written    ${certsDir}/${host}/hosts.toml\n`);
    assert.equal(stdout, lines.join(''));
    await pull(certsDir, 'plain');
    await served(proxy, 'plain');
  });

  it('prints the very same, and refuses a host that the proxy does not serve', async () => {
    const certsDir = join(root, 'certs.d');
    const args = ['mirrors', '--proxy', proxy.url, '--certs-dir', certsDir];
    const path = `${certsDir}/docker.io/hosts.toml`;
    assert.equal(await run(CLI, [...args, 'docker.io']), `# ${path}\n${await readFile(path, 'utf8')}`);
    const { code, stderr } = await tryRun(CLI, [...args, '--write', 'ghcr.io']);
    assert.equal(code, 1);
    assert.ok(stderr.includes(`hint: it serves ${origin.host}, docker.io\n`), stderr);
  });

  it('leads containerd to a proxy by HTTPS, and logs in where that wants it', async () => {
    const authority = await makeAuthority(root, 'authority');
    const [server, client] = await Promise.all(
      ['server', 'client'].map((name) => makeCertificate(root, name, authority)),
    );
    assert.ok(server !== undefined && client !== undefined);
    const users = join(root, 'htpasswd');
    const own = join(root, 'guarded.json');
    const apart = upstreams.map((one) => ('url' in one ? { ...one, passCredentials: false } : one));
    await writeFile(own, JSON.stringify({ upstreams: apart }));
    await writeFile(users, `ann:${OPEN_SESAME}\n`);
    await using guarded = await ProxyProcess.start(join(root, 'guarded'), [
      ...['--config', own, '--access-htpasswd-file', users],
      ...['--tls-cert-file', server.certFile, '--tls-key-file', server.keyFile],
      ...['--tls-client-ca-file', authority.certFile],
    ]);
    const certsDir = join(root, 'tls.d');
    const args = [
      ...['mirrors', '--proxy', `https://${guarded.host}`, '--certs-dir', certsDir, '--write'],
      ...['--ca-file', authority.certFile, '--client-cert', client.certFile],
      ...['--client-key', client.keyFile, origin.host],
    ];
    const env = { DOCKER_CONFIG: join(root, 'no-docker') };
    const refused = await tryRun(CLI, args, { env });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /wants a login, and there is none\nhint: give --user/);
    const wrong = await tryRun(CLI, [...args, '--user', 'ann:wrong'], { env });
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /the proxy refused: .*UNAUTHORIZED/);
    await run(CLI, [...args, '--user', 'ann:open sesame'], { env });
    await pull(certsDir, 'tls');
    await served(guarded, 'tls');
  });

  it('writes a default for all hosts, which leads on to their own registries', async () => {
    const certsDir = join(root, 'default.d');
    await run(CLI, [
      ...['mirrors', '--proxy', proxy.url, '--certs-dir', certsDir, '--write', '--default', 'docker.io'],
    ]);
    await pull(certsDir, 'default');
    await served(proxy, 'default');
  });

  // The last one: it ends the proxy.
  it('leads containerd to the origin while the proxy is down, and fails itself', async () => {
    await proxy.server.stop();
    for (const tree of ['certs.d', 'default.d']) {
      await pull(join(root, tree), 'down');
      const reference = `${origin.host}/${NAME}:down`;
      assert.ok((await containerd.ctr('images', 'ls', '-q')).includes(reference), tree);
      await containerd.ctr('images', 'rm', '--sync', reference);
    }
    const { code, stderr } = await tryRun(CLI, ['mirrors', '--proxy', proxy.url]);
    assert.equal(code, 1);
    assert.match(stderr, /cannot reach the proxy[\s\S]*hint: name it with --proxy/);
  });
});
