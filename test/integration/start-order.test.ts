import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ImageStore } from '../../extensions/starlight/image-store.ts';
import { Ingester } from '../../extensions/starlight/ingest.ts';
import { planDelta } from '../../extensions/starlight/optimizer/plan-delta.ts';
import type { Directory } from '../../extensions/starlight/directory.ts';
import { openDirectory } from '../../server/directory/open.ts';
import { FakeRegistry } from '../extensions/starlight/fake-registry.ts';
import { makeImage } from '../extensions/starlight/made-image.ts';
import { file, symlink, type TarEntry } from '../support/tar.ts';

/** Contents from this size on have a payload of their own: nothing comes with them that was not asked for. */
const OWN_PAYLOAD_BYTES = 32 * 1024;
const SIGNAL = new AbortController().signal;
const ENTRY = '#!/bin/bash\nset -e\nls / >/dev/null\nexec redis-server "$@"\n';

/** What the machine's own loader opens for a program, itself included: the oracle. */
function loadedFor(program: string): string[] {
  const env = { PATH: process.env['PATH'], LD_TRACE_LOADED_OBJECTS: '1' };
  const text = execFileSync(program, [], { env, encoding: 'utf8' });
  return [...text.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
}

/** The modules that the machine's own perl opens. */
function modulesOfPerl(): string[] {
  const print = 'print join("\\n", values %INC)';
  return execFileSync('perl', ['-Mstrict', '-Mwarnings', '-e', print], { encoding: 'utf8' }).split('\n');
}

function commandPath(name: string): string {
  return execFileSync('/bin/sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
}

/** Entries for files of this machine where they are, and for the names that lead to them. */
class MachineImage {
  readonly entries = new Map<string, TarEntry>();

  constructor() {
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
      const link = lstatSync(`/${name}`, { throwIfNoEntry: false })?.isSymbolicLink() === true;
      if (link) this.entries.set(`/${name}`, symlink(name, readlinkSync(`/${name}`)));
    }
  }

  /** @returns where it really is */
  add(path: string): string {
    const real = realpathSync(path);
    const name = join(realpathSync(dirname(path)), basename(path));
    if (name !== real) this.entries.set(name, symlink(name.slice(1), real));
    const { mode } = statSync(real);
    this.entries.set(real, file(real.slice(1), readFileSync(real), { mode: mode & 0o777 }));
    return real;
  }
}

describe('the order of an image that nobody has traced', function () {
  this.timeout(240_000);
  let directory: Directory;
  before(async () => {
    directory = await openDirectory({ kind: 'pglite' });
  });
  after(async () => {
    await directory?.close();
  });

  it('has all that the programs of its entry script need before everything else', async () => {
    const machine = new MachineImage();
    const programs = ['bash', 'ls', 'redis-server', 'perl'].map(commandPath);
    const needed = new Set(
      [...programs, ...programs.flatMap(loadedFor), ...modulesOfPerl()].map((path) => machine.add(path)),
    );
    assert.ok(needed.size > 20, `${needed.size} files`);
    // Others of the same kinds, as a distribution has them beside those.
    const beside = [...new Set([...needed].map(dirname))].flatMap((folder) =>
      readdirSync(folder)
        .map((name) => join(folder, name))
        .filter((path) => {
          const { size, isFile } = statOf(path);
          return isFile && size >= OWN_PAYLOAD_BYTES && size < 256 * 1024 && !needed.has(realpathSync(path));
        })
        .slice(0, 25),
    );
    const others = new Set(beside.map((path) => machine.add(path)));
    assert.ok(others.size > 20, `${others.size} others`);
    for (const path of [
      '/etc/ld.so.conf',
      ...readdirSync('/etc/ld.so.conf.d').map((name) => `/etc/ld.so.conf.d/${name}`),
    ]) {
      machine.add(path);
    }
    const image = await makeImage(
      [
        [...machine.entries.values()],
        [file('usr/local/bin/entry', ENTRY, { mode: 0o755 }), file('etc/x.pl', '1;')],
      ],
      { process: { Entrypoint: ['entry'], Cmd: ['--port', '0', '--perl=perl', 'perl', '/etc/x.pl'] } },
    );
    const registry = new FakeRegistry();
    registry.push('machine', 'v1', image);
    const images = new ImageStore(directory, 1 << 28);
    const errors: unknown[] = [];
    const ingester = new Ingester({ directory, images, onStartUnknown: (error) => errors.push(error) });
    await ingester.ingest({ registry: '', reader: registry, name: 'machine', auth: undefined }, 'v1', SIGNAL);
    assert.deepEqual(errors, []);

    const loaded = await images.image(image.manifest.digest, SIGNAL);
    assert.ok(loaded !== undefined);
    const { tree, shown, start, layerContents } = loaded;
    const { files } = planDelta([{ layers: layerContents, shown, start, ranks: [] }], []);
    const place = new Map([...files.content].map((content, at) => [content, at]));
    const placeOf = (path: string): number => {
      const content = tree.content[tree.resolve(path)] ?? -1;
      return place.get(shown.content[content] ?? -1) ?? Number.NaN;
    };
    const lastNeeded = Math.max(...[...needed, '/usr/local/bin/entry', '/etc/x.pl'].map(placeOf));
    const early = [...others].filter((path) => !(placeOf(path) > lastNeeded));
    const late = [...needed].filter((path) => !start.includes(tree.content[tree.resolve(path)] ?? -1));
    assert.deepEqual({ early, late }, { early: [], late: [] });
  });
});

function statOf(path: string): { size: number; isFile: boolean } {
  const stats = statSync(path, { throwIfNoEntry: false });
  return { size: stats?.size ?? 0, isFile: stats?.isFile() === true };
}
