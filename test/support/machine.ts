import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { findSupport } from '../../worker/complete/support.ts';

const PROGRAMS = ['containerd', 'ctr', 'runc', 'skopeo', 'fusermount', 'nsenter', 'setpriv'] as const;

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((directory) => existsSync(`${directory}/${program}`));
}

/** Why containers cannot run here, for `skip`; undefined when they can. */
export function machineFault(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch {
    return 'no /dev/fuse';
  }
  const missing = PROGRAMS.filter((program) => !onPath(program));
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

/** As {@link machineFault}, for complete forms of images too. @param directory of the test's own */
export async function completeFormFault(directory: string): Promise<string | undefined> {
  const fault = machineFault();
  if (fault !== undefined) return fault;
  const support = await findSupport(join(directory, 'probe'));
  return support.usable ? undefined : support.reason;
}
