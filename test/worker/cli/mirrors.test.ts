import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tryRun } from '../../../scripts/lib/child.ts';
import { CliError } from '../../../worker/cli/cli-error.ts';
import { createProgram } from '../../../worker/cli/program.ts';
import type { Terminal } from '../../../worker/cli/terminal.ts';

const CLI = new URL('../../../bin/ctr-starlight', import.meta.url).pathname;
const HUB = { host: 'docker.io', server: 'https://registry-1.docker.io' };
const upstream = (...namespaces: unknown[]) => ({ name: 'one', default: true, anyHost: false, namespaces });
const upstreams = (...namespaces: unknown[]) => ({ upstreams: [upstream(...namespaces)] });

/** The command against answers of which some no proxy of ours would give. */
describe('ctr-starlight mirrors', function () {
  this.timeout(60_000); // one of them is a process
  let root: string;
  let certsDir: string;
  let server: Server;
  let url: string;
  let answer: { status: number; body: string };

  before(async () => {
    server = createServer((_request, response) => response.writeHead(answer.status).end(answer.body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // a socket of TCP
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-mirrors-'));
    certsDir = join(root, 'a/b/certs.d');
    answer = { status: 200, body: JSON.stringify(upstreams(HUB)) };
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  /** What was printed, and with a failure the code that a process would end with. */
  const run = async (...args: string[]) => {
    const told = { code: 0, stdout: '', stderr: '' };
    const terminal: Terminal = {
      ...{ json: false, interactive: false, columns: 80 },
      out: (text) => {
        told.stdout += text;
      },
      err: (text) => {
        told.stderr += text;
      },
    };
    const program = createProgram(() => terminal, new AbortController().signal);
    const argv = ['mirrors', '--proxy', url, '--certs-dir', certsDir, ...args];
    try {
      await program.parseAsync(argv, { from: 'user' });
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      told.code = 1;
      told.stderr += `error: ${error.message}\nhint: ${error.hint}\n`;
    }
    return told;
  };

  const HOSTILE: readonly (readonly [title: string, body: unknown])[] = [
    ['a path up', upstreams({ host: '../../evil', server: 'https://x.example' })],
    ['a path from the root', upstreams({ host: '/etc/cron.d', server: 'https://x.example' })],
    ['dots', upstreams({ host: '..', server: 'https://..' })],
    ['the default as a host', upstreams({ host: '_default', server: 'https://x.example' })],
    [
      'TOML in the server',
      upstreams({ ...HUB, server: 'https://registry-1.docker.io"\n[host."http://evil"]' }),
    ],
    ['another registry as the server', upstreams({ ...HUB, server: 'https://evil.example' })],
    ['a server that is no URL', upstreams({ ...HUB, server: 'file:///etc/passwd' })],
    ['a login in the server', upstreams({ ...HUB, server: 'https://me@registry-1.docker.io' })],
    ['more upstreams than there can be', { upstreams: Array.from({ length: 257 }, () => upstream()) }],
    ['more hosts than there can be', upstreams(...Array.from({ length: 65 }, () => HUB))],
    ['no list', []],
    ['nothing', null],
  ];
  for (const [title, body] of HOSTILE) {
    it(`writes nothing where the proxy answers ${title}`, async () => {
      answer.body = JSON.stringify(body);
      const { code, stderr } = await run('--write');
      assert.equal(code, 1);
      assert.match(stderr, /^error: .*(is it a Starlight proxy|which it is not)/);
      assert.deepEqual(await readdir(root), []);
    });
  }

  it('reads no answer without end', async () => {
    answer.body = `${' '.repeat(16 << 20)}${answer.body}`;
    assert.match((await run()).stderr, /is it a Starlight proxy/);
  });

  const REFUSED: readonly (readonly [title: string, args: readonly string[], text: RegExp])[] = [
    ['no proxy there', ['--proxy', 'http://127.0.0.1:1'], /cannot reach the proxy[\s\S]*hint: .*--proxy/],
    ['a proxy that is no URL', ['--proxy', 'proxy.example'], /no URL of a proxy[\s\S]*hint: give --proxy as/],
    ['a proxy at a path', ['--proxy', 'http://proxy.example/v2'], /scheme, host and port alone/],
    ['a login in the URL', ['--proxy', 'http://me:secret@proxy.example'], /without a login/],
    ['an IPv6 address', ['--proxy', 'http://[::1]:8090'], /IPv6[\s\S]*hint: .*host name/],
    ['a host that is not served', ['ghcr.io'], /does not serve ghcr\.io[\s\S]*hint: it serves docker\.io/],
    ['a path as a host', ['../x'], /is no registry's host/],
    ['half a client certificate', ['--client-cert', '/etc/none.pem'], /one of the two/],
  ];
  for (const [title, args, text] of REFUSED) {
    it(`fails and says what to do with ${title}`, async () => {
      const { code, stdout, stderr } = await run('--write', ...args);
      assert.equal(code, 1);
      assert.match(stderr, text);
      assert.doesNotMatch(stderr, /secret/);
      assert.equal(stdout, '');
      assert.deepEqual(await readdir(root), []);
    });
  }

  it('fails where the tree cannot be written', async () => {
    await writeFile(join(root, 'a'), 'no directory');
    const { code, stderr } = await run('--write');
    assert.equal(code, 1);
    assert.match(stderr, /ENOTDIR[\s\S]*hint: .*--certs-dir/);
  });

  it('prints what could be pasted, and writes nothing', async () => {
    const { code, stdout } = await run('--default');
    assert.equal(code, 0);
    const mirror = `[host."${url}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "2s"\n`;
    assert.equal(
      stdout,
      `# ${certsDir}/docker.io/hosts.toml\nserver = "https://registry-1.docker.io"\n\n${mirror}\n` +
        `# ${certsDir}/_default/hosts.toml\n${mirror}`,
    );
    assert.deepEqual(await readdir(root), []);
  });

  it('writes, and says by line or by JSON what it did', async () => {
    const file = join(certsDir, 'docker.io/hosts.toml');
    assert.equal((await run('--write')).stdout, `written    ${file}\n`);
    assert.equal((await run('--write')).stdout, `unchanged  ${file}\n`);
    const text = await readFile(file, 'utf8');
    await writeFile(file, 'mine');
    const { stdout } = await tryRun(CLI, [
      ...['-o', 'json', 'mirrors', '--proxy', url, '--certs-dir', certsDir, '--write'],
    ]);
    const { files } = JSON.parse(stdout) as { files: { backup: string }[] };
    const backup = files[0]?.backup ?? '';
    assert.deepEqual(files, [{ host: 'docker.io', path: file, text, action: 'replaced', backup }]);
    assert.equal(await readFile(backup, 'utf8'), 'mine');
    assert.equal(await readFile(file, 'utf8'), text);
  });

  it('warns where an upstream would answer for all hosts', async () => {
    answer.body = JSON.stringify({ upstreams: [{ ...upstream(HUB), anyHost: true }] });
    const { code, stderr } = await run('--default');
    assert.equal(code, 0);
    assert.match(stderr, /^warning: .*one is asked for the images of every host/);
    assert.equal((await run()).stderr, '');
  });
});
