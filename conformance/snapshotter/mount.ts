import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { MountMessage } from '../../schemas/proto/snapshots.ts';

const run = promisify(execFile);

/** mount(2) takes one page of options; containerd shortens `lowerdir` when this much of it is used. */
const OPTIONS_MAX_BYTES = 4096 - 512;
const LOWERDIR = 'lowerdir=';

/** Applies mounts to `target` in order, as containerd's mount.All does. */
export async function mountAll(mounts: readonly MountMessage[], target: string): Promise<void> {
  for (const mount of mounts) await mountOne(mount, target);
}

/** Takes away every mount on `target`. */
export async function unmountAll(target: string): Promise<void> {
  await run('umount', ['--recursive', target]);
}

async function mountOne(mount: MountMessage, target: string): Promise<void> {
  const { type, source, options } = mount;
  if (type === 'bind') {
    await run('mount', [options.includes('rbind') ? '--rbind' : '--bind', source, target]);
    // the kernel ignores all flags of the call that makes a bind mount
    if (options.includes('ro')) await run('mount', ['-o', 'remount,bind,ro', target]);
    return;
  }
  const { directory, shortened } = shorten(options);
  await run('mount', ['-t', type, source, '-o', shortened.join(','), target], { cwd: directory });
}

/**
 * Long lower directories made relative to their common directory, in which the mount is then made (containerd,
 * mount.compactLowerdirOption).
 */
function shorten(options: readonly string[]): { directory: string; shortened: readonly string[] } {
  const lowerdir = options.find((option) => option.startsWith(LOWERDIR));
  const lowers = lowerdir?.slice(LOWERDIR.length).split(':') ?? [];
  if (options.join(',').length <= OPTIONS_MAX_BYTES || lowers.length < 2) {
    return { directory: '/', shortened: options };
  }
  const directory = commonDirectory(lowers);
  const relative = LOWERDIR + lowers.map((lower) => lower.slice(directory.length)).join(':');
  return { directory, shortened: options.map((option) => (option === lowerdir ? relative : option)) };
}

/** The longest directory, with its slash, that all absolute paths begin with. */
function commonDirectory(paths: readonly string[]): string {
  const [first = '/', ...others] = paths;
  let end = first.lastIndexOf('/') + 1;
  while (end > 1 && !others.every((path) => path.startsWith(first.slice(0, end)))) {
    end = first.lastIndexOf('/', end - 2) + 1;
  }
  return first.slice(0, end);
}
