import { type Link, type LinkSettings, type LinkStats, queueBytes } from './link.ts';
import { DEVICE, iproute, type Namespaces, type Side, takeDevice } from './namespaces.ts';

const ETHERNET_HEADER_BYTES = 14;
const PACKET_BYTES = 1500;

/** The arguments of `tc qdisc … netem` for one way. Its limit counts packets, those on the line included. */
export function netemArguments(settings: LinkSettings): string[] {
  const inFlightBytes = (settings.rateMbit * settings.rttMs * 1000) / 8 / 2;
  const limit = Math.ceil((queueBytes(settings) + inFlightBytes) / PACKET_BYTES);
  const rate = settings.rateMbit === 0 ? [] : ['rate', `${settings.rateMbit}mbit`];
  const loss = settings.cut ? ['loss', '100%'] : [];
  return ['netem', 'limit', `${limit}`, 'delay', `${settings.rttMs / 2}ms`, ...rate, ...loss];
}

/** True when this kernel has netem (it loads the module, where it is one). */
export async function hasNetem(namespaces: Namespaces, signal: AbortSignal): Promise<boolean> {
  const qdisc = ['-n', namespaces.edge, 'qdisc'];
  try {
    await iproute('tc', [...qdisc, 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'], signal);
    await iproute('tc', [...qdisc, 'del', 'dev', 'lo', 'root'], signal);
    return true;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

type Counters = { readonly stats64: { readonly rx: { readonly packets: number; readonly bytes: number } } };
type Qdisc = { readonly drops?: number };

/** The link for kernels with netem: a veth pair, each end holding back what leaves it. Needs root. */
export async function openNetemLink(
  namespaces: Namespaces,
  settings: LinkSettings,
  signal: AbortSignal,
): Promise<Link> {
  const name = (side: Side) => `sl${process.pid}${side.charAt(0)}`;
  const pair = [name('cloud'), 'type', 'veth', 'peer', 'name', name('edge')];
  await iproute('ip', ['link', 'add', ...pair], signal);
  const always = new AbortController().signal;
  const shape = async (verb: 'add' | 'change', next: LinkSettings) => {
    for (const side of ['cloud', 'edge'] as const) {
      const place = ['-n', namespaces[side], 'qdisc', verb, 'dev', DEVICE, 'root'];
      await iproute('tc', [...place, ...netemArguments(next)], always);
    }
  };
  for (const side of ['cloud', 'edge'] as const) {
    // packets of the line's own size, so that a limit in packets is one in bytes
    await takeDevice(namespaces, side, name(side), ['gso_max_segs', '1'], signal);
  }
  await shape('add', settings);

  /** What arrived at `to`, and what was dropped where it left. */
  const direction = async (from: Side, to: Side) => {
    const link = await iproute('ip', ['-n', namespaces[to], '-s', '-j', 'link', 'show', DEVICE], always);
    const qdisc = await iproute(
      'tc',
      ['-n', namespaces[from], '-s', '-j', 'qdisc', 'show', 'dev', DEVICE],
      always,
    );
    const [counters] = JSON.parse(link) as Counters[]; // iproute2's own JSON
    const [root] = JSON.parse(qdisc) as Qdisc[];
    const { packets = 0, bytes = 0 } = counters?.stats64.rx ?? {};
    return { packets, bytes: bytes - packets * ETHERNET_HEADER_BYTES, drops: root?.drops ?? 0 };
  };
  return {
    driver: 'netem',
    async stats(): Promise<LinkStats> {
      return { down: await direction('cloud', 'edge'), up: await direction('edge', 'cloud') };
    },
    apply: (next) => shape('change', next),
    async [Symbol.asyncDispose]() {
      // the pair goes with either namespace
    },
  };
}
