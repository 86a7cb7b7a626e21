import { execFile } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { isMissing } from '../../../schemas/process/system-error.ts';

const run = promisify(execFile);

export type Side = 'cloud' | 'edge';
export const ADDRESS = { cloud: '10.77.0.1', edge: '10.77.0.2' } as const satisfies Record<Side, string>;
export const DEVICE = 'wan0';
const MTU_BYTES = 1500;
const NAME = /^sl-(?:cloud|edge)-(\d+)$/;

/** Of each namespace: buffers that a long fat line fills, none of IPv6's chatter, no memory of old connections. */
const SYSCTL: Readonly<Record<string, string>> = {
  'net/ipv6/conf/all/disable_ipv6': '1',
  'net/ipv4/tcp_rmem': '4096 131072 67108864',
  'net/ipv4/tcp_wmem': '4096 131072 67108864',
  'net/ipv4/tcp_no_metrics_save': '1',
};

/** The two network namespaces of a link; disposing of them removes them. */
export interface Namespaces extends AsyncDisposable {
  readonly cloud: string;
  readonly edge: string;
}

/** Runs a program of iproute2. @throws with what it printed when it fails. */
export async function iproute(program: 'ip' | 'tc', args: readonly string[], signal: AbortSignal) {
  const { stdout } = await run(program, args, { signal });
  return stdout;
}

/** True when the process of this id is a link of ours; false when it is gone or another program has the id. */
async function isLinkProcess(pid: string): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes('wan');
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Removes the namespaces of links that were killed; gives their names. */
export async function removeStale(signal: AbortSignal): Promise<string[]> {
  const names = await readdir('/run/netns').catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  const stale: string[] = [];
  for (const name of names) {
    const pid = NAME.exec(name)?.[1];
    if (pid === undefined || pid === `${process.pid}` || (await isLinkProcess(pid))) continue;
    await iproute('ip', ['netns', 'del', name], signal);
    stale.push(name);
  }
  return stale;
}

/** Makes `sl-cloud-PID` and `sl-edge-PID`, each with its loopback up. */
export async function makeNamespaces(signal: AbortSignal): Promise<Namespaces> {
  const names = { cloud: `sl-cloud-${process.pid}`, edge: `sl-edge-${process.pid}` };
  const namespaces: Namespaces = {
    ...names,
    async [Symbol.asyncDispose]() {
      const always = new AbortController().signal;
      for (const name of [names.cloud, names.edge]) {
        await iproute('ip', ['netns', 'del', name], always).catch(() =>
          rm(`/run/netns/${name}`, { force: true }),
        );
      }
    },
  };
  try {
    for (const name of [names.cloud, names.edge]) {
      await iproute('ip', ['netns', 'add', name], signal);
      const settings = Object.entries(SYSCTL).map(([key, value]) => `echo ${value} >/proc/sys/${key}`);
      await iproute('ip', ['netns', 'exec', name, 'sh', '-c', settings.join('\n')], signal);
      await iproute('ip', ['-n', name, 'link', 'set', 'lo', 'up'], signal);
    }
  } catch (error) {
    await namespaces[Symbol.asyncDispose]();
    throw error;
  }
  return namespaces;
}

/** Moves `device` into a namespace as `wan0`, with that side's address, and starts it. */
export async function takeDevice(
  namespaces: Namespaces,
  side: Side,
  device: string,
  attributes: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const name = namespaces[side];
  await iproute('ip', ['link', 'set', 'dev', device, 'netns', name], signal);
  const inside = (...args: string[]) => iproute('ip', ['-n', name, ...args], signal);
  await inside('link', 'set', 'dev', device, 'name', DEVICE, 'mtu', `${MTU_BYTES}`, ...attributes);
  await inside('addr', 'add', `${ADDRESS[side]}/24`, 'dev', DEVICE);
  await inside('link', 'set', 'dev', DEVICE, 'up');
}
