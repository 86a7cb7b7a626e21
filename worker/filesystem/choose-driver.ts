import { accessSync, constants, existsSync } from 'node:fs';
import { endianness } from 'node:os';
import { delimiter, join } from 'node:path';
import type { DriverName, FileSystemDriver, FileSystemLog } from './driver.ts';
import { FileSystemError } from './error.ts';

/** What the configuration may say: a driver by name, or the best one that works here. */
export type DriverChoice = 'auto' | DriverName;

export interface DriverOptions {
  /**
   * Where the kernel driver notes who keeps its descriptors, for instance /run/starlight/descriptors. With
   * it, mounts survive the death of this process (`FileSystemDriver.resume`); without it they do not.
   */
  readonly descriptorDirectory?: string;
}

const PREFERENCE: readonly DriverName[] = ['kernel', 'fuse-native'];
const FUSE_DEVICE = '/dev/fuse';

/**
 * Makes the driver of this process. `auto` takes the kernel driver where it can work, else fuse-native, and
 * says in the log why not the former.
 *
 * @throws {FileSystemError} `no-driver` with the reason of each candidate
 */
export async function chooseDriver(
  choice: DriverChoice,
  log: FileSystemLog,
  options: DriverOptions = {},
): Promise<FileSystemDriver> {
  const reasons: string[] = [];
  for (const name of choice === 'auto' ? PREFERENCE : [choice]) {
    const reason = obstacle(name);
    if (reason !== undefined) {
      reasons.push(`${name}: ${reason}`);
      continue;
    }
    try {
      const driver = await load(name, log, options);
      if (reasons.length > 0)
        log.warn({ driver: name, reasons }, 'the preferred file system driver is not usable');
      return driver;
    } catch (error) {
      reasons.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new FileSystemError({ kind: 'no-driver', reasons });
}

/** The add-ons are loaded only when wanted: either may be missing on a platform. */
async function load(name: DriverName, log: FileSystemLog, options: DriverOptions): Promise<FileSystemDriver> {
  switch (name) {
    case 'kernel': {
      const { KernelDriver } = await import('./kernel/driver.ts');
      const { descriptorDirectory } = options;
      if (descriptorDirectory === undefined) return new KernelDriver(log);
      const { DescriptorHolder } = await import('./kernel/descriptor-holder.ts');
      const holder = new DescriptorHolder(descriptorDirectory);
      await holder.sweep();
      return new KernelDriver(log, holder);
    }
    case 'fuse-native': {
      const { FuseNativeDriver } = await import('./fuse-native/driver.ts');
      return new FuseNativeDriver();
    }
    default:
      return name satisfies never;
  }
}

/** Why a driver cannot work here, before any of it is loaded. */
function obstacle(name: DriverName): string | undefined {
  try {
    accessSync(FUSE_DEVICE, constants.R_OK | constants.W_OK);
  } catch (error) {
    return `${FUSE_DEVICE}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`;
  }
  if (name === 'fuse-native')
    return hasProgram('fusermount') ? undefined : 'fusermount is not installed (fuse3)';
  if (process.platform !== 'linux') return `the platform is ${process.platform}`;
  if (endianness() !== 'LE') return 'the machine is big endian';
  if (process.geteuid?.() !== 0) return 'mount(2) needs root';
  return undefined;
}

function hasProgram(program: string): boolean {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .some((directory) => existsSync(join(directory, program)));
}
