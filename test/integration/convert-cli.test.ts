import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DockerRegistry } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { file } from '../support/tar.ts';

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ctr(...args: readonly string[]): Promise<Result> {
  return ctrIn({}, ...args);
}

async function ctrIn(env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<Result> {
  const child = spawn('bin/ctr-starlight', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout as unknown as ReadableStream).text(), // a Node stream is read as an async iterable
    new Response(child.stderr as unknown as ReadableStream).text(),
    new Promise<number | null>((resolve) => child.once('close', resolve)),
  ]);
  return { code, stdout, stderr };
}

describe('ctr-starlight convert', function () {
  this.timeout(60_000);
  let scratch: string;
  let source: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'starlight-test-convert-cli-'));
    source = `oci:${join(scratch, 'source')}:v1`;
    const layers = [[file('a', Buffer.alloc(200_000, 'abc'))], [file('b', 'b')]];
    makeLayout(join(scratch, 'source'), [
      { tag: 'v1', layers, platform: { os: 'linux', architecture: 'amd64' } },
      { tag: 'v1', layers, platform: { os: 'linux', architecture: 'arm64' } },
    ]);
  });
  after(() => rm(scratch, { recursive: true, force: true }));

  it('prints plain lines and sizes where nobody looks', async () => {
    const { code, stdout, stderr } = await ctr('convert', source, `oci:${join(scratch, 'plain')}:v1`);
    assert.equal(code, 0, stderr);
    assert.match(
      stdout,
      /^LAYER +BEFORE +AFTER +OVERHEAD\n(?:sha256:.*\n){2}total .* %\n.* is sha256:[0-9a-f]{64}\n$/,
    );
    assert.match(stderr, /^layer sha256:[0-9a-f]{12} .* -> .*, sent$/m);
    assert.ok(!stderr.includes('\r'));
  });

  it('prints JSON when asked to', async () => {
    const target = `oci:${join(scratch, 'json')}:v1`;
    const { code, stdout, stderr } = await ctr(
      '-o',
      'json',
      'convert',
      '--platform',
      'linux/arm64',
      source,
      target,
    );
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout) as { sizeBytes: number; images: { layers: { sizeBytes: number }[] }[] };
    assert.equal(report.images.length, 1);
    const sum = report.images[0]?.layers.reduce((total, layer) => total + layer.sizeBytes, 0);
    assert.equal(report.sizeBytes, sum);
  });

  it('tells the proxy when asked to', async () => {
    await using registry = await DockerRegistry.start(scratch);
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      request.setEncoding('utf8').on('data', (text: string) => bodies.push(`${request.url} ${text}`));
      request.once('end', () => response.end('{"images":[{"platform":"linux/amd64","status":"ingested"}]}'));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo; // listens on TCP
      const proxy = `http://127.0.0.1:${port}`;
      const target = `${registry.host}/a/b:v1`;
      const { code, stdout, stderr } = await ctr('convert', '--notify', '--proxy', proxy, source, target);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^proxy: linux\/amd64 ingested$/m);
      assert.deepEqual(bodies, [
        `/starlight/notify ${JSON.stringify({ reference: 'a/b:v1', ns: registry.host })}`,
      ]);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('what is converted is told of, also when the proxy is not there', async () => {
    await using registry = await DockerRegistry.start(scratch);
    const target = `${registry.host}/a/b:v1`;
    const proxy = 'http://127.0.0.1:1';
    const args = ['-o', 'json', 'convert', '--notify', '--proxy', proxy, source, target];
    const { code, stdout, stderr } = await ctr(...args);
    assert.equal(code, 1);
    const report = JSON.parse(stdout) as { images: unknown[]; notified?: unknown };
    assert.deepEqual([report.images.length, report.notified], [2, undefined]);
    const { error } = JSON.parse(stderr) as { error: Record<string, string> };
    assert.equal(error['code'], 'proxy-unreachable');
    assert.match(error['message'] ?? '', /^converted, but the proxy could not be told/);
    assert.equal(error['hint'], `tell it later: ctr-starlight notify --proxy ${proxy} ${target}`);
  });

  it('a scratch directory that cannot be written to is named', async () => {
    const TMPDIR = join(scratch, 'source/oci-layout'); // a file
    const { code, stderr } = await ctrIn({ TMPDIR }, 'convert', source, `oci:${scratch}/x:v1`);
    assert.equal(code, 1);
    assert.ok(stderr.includes(`error: cannot write to ${TMPDIR}: ENOTDIR`), stderr);
    assert.match(stderr, /hint: .*TMPDIR names another place/);
  });

  it('SIGINT in the middle leaves neither a layout nor scratch files', async () => {
    const large = join(scratch, 'large');
    makeLayout(large, [{ tag: 'v1', layers: [[file('a', randomBytes(60_000_000))]] }]);
    const TMPDIR = join(scratch, 'tmp');
    await mkdir(TMPDIR);
    const target = join(scratch, 'interrupted');
    const args = ['convert', `oci:${large}:v1`, `oci:${target}:v1`];
    const child = spawn('bin/ctr-starlight', args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, TMPDIR },
    });
    child.stderr.once('data', () => child.kill('SIGINT')); // the first line of its progress
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.equal(code, 130);
    assert.deepEqual(await readdir(TMPDIR), []);
    await assert.rejects(readdir(target), { code: 'ENOENT' });
  });

  it('SIGKILL in the middle leaves no scratch files either', async () => {
    const large = join(scratch, 'killed');
    makeLayout(large, [{ tag: 'v1', layers: [[file('a', randomBytes(60_000_000))]] }]);
    const TMPDIR = join(scratch, 'killed-tmp');
    await mkdir(TMPDIR);
    const child = spawn('bin/ctr-starlight', ['convert', `oci:${large}:v1`, `oci:${scratch}/never:v1`], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, TMPDIR },
    });
    child.stderr.once('data', () => child.kill('SIGKILL')); // the first line of its progress
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGKILL']);
    assert.deepEqual(await readdir(TMPDIR), []);
  });

  it('ends without scratch files when nobody reads its output any more', async () => {
    const large = join(scratch, 'layers');
    const layers = Array.from({ length: 5 }, (_, row) => [file(`${row}`, randomBytes(15_000_000))]);
    makeLayout(large, [{ tag: 'v1', layers }]);
    const TMPDIR = join(scratch, 'pipe-tmp');
    await mkdir(TMPDIR);
    const target = join(scratch, 'unread');
    const child = spawn('bin/ctr-starlight', ['convert', `oci:${large}:v1`, `oci:${target}:v1`], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, TMPDIR },
    });
    child.stderr.once('data', () => child.stderr.destroy()); // the next line has no reader
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.equal(code, 1);
    assert.deepEqual(await readdir(TMPDIR), []);
    await assert.rejects(readdir(join(target, 'index.json')), { code: 'ENOENT' });
  });

  const bad: readonly (readonly [string, (scratch: string) => readonly string[], RegExp])[] = [
    ['a source that is not there', (dir) => [`oci:${dir}/none:v1`, `oci:${dir}/x:v1`], /no image layout/],
    ['a tag that is not there', (dir) => [`oci:${dir}/source:v9`, `oci:${dir}/x:v1`], /no such image/],
    [
      'a platform that is none',
      (dir) => ['--platform', 'amd64', `oci:${dir}/source:v1`, `oci:${dir}/x:v1`],
      /not a platform/,
    ],
    [
      'a platform that is not there',
      (dir) => ['--platform', 'linux/s390x', `oci:${dir}/source:v1`, `oci:${dir}/x:v1`],
      /linux\/amd64, linux\/arm64/,
    ],
    ['a name without a registry', (dir) => ['redis:7', `oci:${dir}/x:v1`], /name the registry/],
    [
      'a destination with a digest',
      (dir) => [`oci:${dir}/source:v1`, `r.example/a@sha256:${'0'.repeat(64)}`],
      /name a tag/,
    ],
    [
      'a destination that cannot be written to',
      (dir) => [`oci:${dir}/source:v1`, `oci:${dir}/source/oci-layout/x:v1`],
      /error: cannot write to .*oci-layout\/x: ENOTDIR/,
    ],
    [
      'a destination where no directory can be made',
      (dir) => [`oci:${dir}/source:v1`, 'oci:/proc/starlight/x:v1'],
      /error: cannot write to \/proc\/starlight\/x: ENOENT: .*'\/proc\/starlight'/,
    ],
    [
      'a registry that is not there',
      (dir) => [`oci:${dir}/source:v1`, '127.0.0.1:1/a:b'],
      /cannot reach 127\.0\.0\.1:1/,
    ],
  ];
  for (const [name, args, message] of bad) {
    it(`exits with 1 and says why: ${name}`, async () => {
      const { code, stdout, stderr } = await ctr('convert', ...args(scratch));
      assert.equal(code, 1, stderr);
      assert.match(stderr, message);
      assert.equal(stdout, '');
      assert.ok(!stderr.includes('    at '), 'no stack trace');
    });
  }
});
