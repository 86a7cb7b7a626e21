/**
 * Walks, stats and reads a tree of 84,071 files in 9,457 directories below overlayfs: on the local disk, in its
 * complete form, with the kernel driver and with fuse-native, in one run. Prints a table in Markdown. Needs root.
 *
 *   bin/node bench/filesystem.ts [--files 84071] [--rounds 3] [--drop-caches]
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { file, type SampleEntry, sampleTree } from '../conformance/filesystem/sample-tree.ts';
import { digestHex, digestOf } from '../schemas/oci/digest.ts';
import type { Tree } from '../schemas/toc/tree.ts';
import { MetadataImage } from '../worker/complete/erofs/metadata-image.ts';
import { mountForm, unmountForm } from '../worker/complete/form-mount.ts';
import { findSupport } from '../worker/complete/support.ts';
import { chooseDriver } from '../worker/filesystem/choose-driver.ts';
import type { DriverName, FileSystemLog } from '../worker/filesystem/driver.ts';

const FILES_PER_DIRECTORY = 8.89;
const SMALL_READS = 10_000;
const LARGE_BYTES = 50 * 1024 * 1024;
const WAIT_LIMIT_MS = 10_000;

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '84071' },
    rounds: { type: 'string', default: '3' },
    'drop-caches': { type: 'boolean', default: false },
  },
});
const fileCount = Number(values.files);
const rounds = Number(values.rounds);

type Side = 'native' | 'complete' | DriverName;
/** Median milliseconds of each measurement, first after a mount and again. */
type Figures = Map<string, number[]>;

/** `$0` is the merged directory, `$1` the list of small files. */
const MEASUREMENTS: readonly { readonly what: string; readonly script: string }[] = [
  { what: 'find', script: 'find "$0" -type f | wc -l' },
  { what: 'stat of everything', script: 'find "$0" -printf "%s %m %T@\\n" | wc -l' },
  {
    what: `open and read ${SMALL_READS.toLocaleString('en')} small files`,
    script: 'cd "$0" && xargs -a "$1" cat | wc -c',
  },
  { what: 'read of 50 MB', script: 'cat "$0/large" | wc -c' },
  {
    what: '20 × exec of a program',
    script: 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do "$0/true"; done',
  },
];

const quiet: FileSystemLog = {
  debug: () => {},
  warn: (fields, message) => console.error(message, fields),
  error: (fields, message) => console.error(message, fields),
};

/** The same files three times over: on disk, as links in a store, and as a tree. */
function prepare(base: string): { tree: Tree; list: string } {
  const entries: SampleEntry[] = [];
  const names: string[] = [];
  const put = (path: string, bytes: Buffer, mode: number) => {
    const onDisk = join(base, 'native', path);
    writeFileSync(onDisk, bytes, { mode });
    const hex = digestHex(digestOf(bytes));
    const stored = join(base, 'store', hex.slice(0, 2), hex.slice(2));
    linkSync(onDisk, stored);
    entries.push(file(path, bytes, { mode }));
  };
  mkdirSync(join(base, 'native'));
  for (let prefix = 0; prefix < 256; prefix++) {
    mkdirSync(join(base, 'store', prefix.toString(16).padStart(2, '0')), { recursive: true });
  }
  let previous = '';
  for (let index = 0; index < fileCount; index++) {
    const inDirectory = Math.floor(index / FILES_PER_DIRECTORY);
    const directory = `node_modules/package-${inDirectory % 1000}/lib-${Math.floor(inDirectory / 1000)}`;
    if (directory !== previous) mkdirSync(join(base, 'native', directory), { recursive: true });
    previous = directory;
    const path = `${directory}/file-${index}.js`;
    put(
      path,
      Buffer.from(
        createHash('sha256')
          .update(path)
          .digest('hex')
          .repeat(1 + (index % 40)),
      ),
      0o644,
    );
    names.push(path);
  }
  const program = Buffer.from('#!/bin/sh\n:\n');
  put('true', program, 0o755);
  put('large', Buffer.alloc(LARGE_BYTES, 'large and not all the same '), 0o644);
  const list = join(base, 'list');
  const step = Math.max(1, Math.floor(names.length / SMALL_READS));
  writeFileSync(
    list,
    names
      .filter((_name, index) => index % step === 0)
      .slice(0, SMALL_READS)
      .join('\n'),
  );
  return { tree: sampleTree(entries), list };
}

/** What lies below a container: how it is mounted, as options of the overlay, and how it is taken away. */
interface Lower {
  readonly options: string;
  readonly unmount: () => Promise<unknown>;
}

/** Mounts the tree for one measurement. */
type Mounter = (lower: string) => Promise<Lower>;

async function mounterOf(
  side: Side,
  base: string,
  tree: Tree,
): Promise<Mounter & { close?: () => Promise<void> }> {
  if (side === 'native') {
    return async () => ({ options: `lowerdir=${join(base, 'native')}`, unmount: async () => {} });
  }
  if (side === 'complete') {
    const support = await findSupport(join(base, 'probe'));
    if (!support.usable) throw new Error(`no complete form here: ${support.reason}`);
    const image = join(base, 'image');
    const begin = performance.now();
    writeFileSync(image, Buffer.concat([...new MetadataImage(tree, randomBytes(16)).pieces()]));
    const ms = (performance.now() - begin).toFixed(0);
    console.log(`metadata image: ${statSync(image).size} bytes, ${ms} ms\n`);
    const metacopy = support.form === 'complete-metacopy' ? ',metacopy=on,redirect_dir=on' : '';
    return async (lower) => {
      await mountForm(image, lower, support.way);
      const options = `lowerdir=${lower}::${join(base, 'store')}${metacopy}`;
      return { options, unmount: () => unmountForm(lower) };
    };
  }
  const driver = await chooseDriver(side, quiet);
  const contents = {
    directory: join(base, 'store'),
    want: () => Promise.reject(new Error('everything is here')),
  };
  const mounter: Mounter = async (lower) => {
    const mountOptions = { waitLimitMs: WAIT_LIMIT_MS, log: quiet };
    const signal = AbortSignal.timeout(WAIT_LIMIT_MS);
    const mounted = await driver.mount(tree, lower, contents, mountOptions, signal);
    return { options: `lowerdir=${lower}`, unmount: () => mounted.unmount() };
  };
  return Object.assign(mounter, { close: () => driver.close() });
}

async function sh(script: string, ...args: string[]): Promise<void> {
  await promisify(execFile)('sh', ['-ec', script, ...args]);
}

async function timed(script: string, ...args: string[]): Promise<number> {
  const begin = performance.now();
  await sh(script, ...args);
  return performance.now() - begin;
}

async function measure(side: Side, base: string, tree: Tree, list: string): Promise<Figures> {
  const figures: Figures = new Map();
  const mounter = await mounterOf(side, base, tree);
  const [lower, merged] = [join(base, `lower-${side}`), join(base, `merged-${side}`)];
  for (const path of [lower, merged]) mkdirSync(path);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const { what, script } of MEASUREMENTS) {
        const mounted = await mounter(lower);
        const upper = mkdtempSync(join(base, 'upper-'));
        const work = mkdtempSync(join(base, 'work-'));
        const options = `${mounted.options},upperdir=${upper},workdir=${work}`;
        await sh(`mount -t overlay overlay -o ${options} ${merged}`);
        if (values['drop-caches']) await sh('sync; echo 2 >/proc/sys/vm/drop_caches');
        try {
          for (const pass of ['first', 'again']) {
            const key = `${what}, ${pass}`;
            const series = figures.get(key) ?? [];
            figures.set(key, series);
            series.push(await timed(script, merged, list));
          }
        } finally {
          await sh(`umount ${merged}`);
          await mounted.unmount();
        }
      }
    }
  } finally {
    await mounter.close?.();
  }
  return figures;
}

function median(series: readonly number[]): number {
  return series.toSorted((a, b) => a - b)[Math.floor(series.length / 2)] ?? Number.NaN;
}

const base = mkdtempSync('/var/tmp/starlight-bench-');
try {
  const { tree, list } = prepare(base);
  const sides: readonly Side[] = ['native', 'complete', 'kernel', 'fuse-native'];
  const results = new Map<Side, Figures>();
  for (const side of sides) results.set(side, await measure(side, base, tree, list));
  console.log(`${fileCount} files, medians of ${rounds}, milliseconds (times native)\n`);
  console.log('| | native | complete | kernel | fuse-native |\n|---|---|---|---|---|');
  for (const key of results.get('native')?.keys() ?? []) {
    const [native = Number.NaN, ...others] = sides.map((side) => median(results.get(side)?.get(key) ?? []));
    const cells = others.map((ms) => `${ms.toFixed(1)} (${(ms / native).toFixed(1)})`);
    console.log(`| ${key} | ${native.toFixed(1)} | ${cells.join(' | ')} |`);
  }
} finally {
  rmSync(base, { recursive: true, force: true });
}
