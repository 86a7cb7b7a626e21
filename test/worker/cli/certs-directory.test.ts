import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CertsDirectory } from '../../../worker/cli/certs-directory.ts';
import { CliError } from '../../../worker/cli/cli-error.ts';

const NOW = new Date('2026-03-04T05:06:07.890Z');
const SIGNAL = new AbortController().signal;

describe('CertsDirectory', () => {
  let root: string;
  let directory: CertsDirectory;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-certs-'));
    directory = new CertsDirectory(join(root, 'certs.d'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const CASES: readonly (readonly [title: string, there: readonly string[], host: string, name: string])[] = [
    ['a host', [], 'docker.io', 'docker.io'],
    ['a host with a port', [], 'a.example:5000', 'a.example:5000'],
    ['the form that containerd looks for first', ['a.example_5000_'], 'a.example:5000', 'a.example_5000_'],
    [
      'that form beside the other',
      ['a.example_5000_', 'a.example:5000'],
      'a.example:5000',
      'a.example_5000_',
    ],
    ['the default', [], '_default', '_default'],
  ];
  for (const [title, there, host, name] of CASES) {
    it(`finds the place of ${title}`, async () => {
      for (const one of there) await mkdir(join(directory.path, one), { recursive: true });
      assert.equal(await directory.fileOf(host), join(directory.path, name, 'hosts.toml'));
    });
  }

  it('writes, leaves alone what is the same, and keeps what it replaces, each time under another name', async () => {
    const file = await directory.fileOf('docker.io');
    assert.deepEqual(await directory.write(file, 'one', NOW, SIGNAL), { action: 'written' });
    await chmod(file, 0o600);
    const { ino, mtimeMs } = await stat(file);
    assert.deepEqual(await directory.write(file, 'one', NOW, SIGNAL), { action: 'unchanged' });
    const after = await stat(file);
    assert.deepEqual([after.ino, after.mtimeMs], [ino, mtimeMs]);
    const backup = `${file}.bak-20260304T050607Z`;
    assert.deepEqual(await directory.write(file, 'two', NOW, SIGNAL), { action: 'replaced', backup });
    assert.deepEqual(await directory.write(file, 'three', NOW, SIGNAL), {
      action: 'replaced',
      backup: `${backup}-2`,
    });
    const names = ['hosts.toml', 'hosts.toml.bak-20260304T050607Z', 'hosts.toml.bak-20260304T050607Z-2'];
    assert.deepEqual((await readdir(join(directory.path, 'docker.io'))).sort(), names);
    assert.equal(await readFile(backup, 'utf8'), 'one');
    assert.equal(await readFile(`${backup}-2`, 'utf8'), 'two');
    assert.equal(await readFile(file, 'utf8'), 'three');
    assert.equal((await stat(file)).mode & 0o777, 0o600, 'who may read it stays as it was');
  });

  it('says what to do where it cannot write', async () => {
    await writeFile(directory.path, 'no directory');
    const refused = (error: unknown) => {
      assert.ok(error instanceof CliError);
      assert.equal(error.code, 'certs-dir');
      assert.match(error.message, /ENOTDIR/);
      assert.match(error.hint ?? '', /--certs-dir/);
      return true;
    };
    await assert.rejects(directory.fileOf('docker.io'), refused);
    const file = join(directory.path, 'docker.io/hosts.toml');
    await assert.rejects(directory.write(file, 'one', NOW, SIGNAL), refused);
  });
});
