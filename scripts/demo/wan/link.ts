/** What a link is to do, both ways. */
export type LinkSettings = {
  readonly rttMs: number;
  /** Megabits per second of IP bytes; 0: no limit. */
  readonly rateMbit: number;
  /** True: the cable is cut, nothing passes. */
  readonly cut: boolean;
};

export type DirectionStats = {
  /** Packets and IP bytes (headers included, Ethernet's not) that passed. */
  readonly packets: number;
  readonly bytes: number;
  readonly drops: number;
};

/** `down` is from cloud to edge, `up` the other way. Both count from the last reset. */
export type LinkStats = { readonly down: DirectionStats; readonly up: DirectionStats };

export type LinkDriverName = 'tun' | 'netem';

/** A running link between the interfaces `wan0` of two namespaces. */
export interface Link extends AsyncDisposable {
  readonly driver: LinkDriverName;
  /** Counted since the link was made. */
  stats(): Promise<LinkStats>;
  apply(settings: LinkSettings): Promise<void>;
}

const LEAST_QUEUE_BYTES = 256 << 10;

/** The product of bandwidth and delay, at least 256 KiB: what a router in front of such a line would hold. */
export function queueBytes(settings: LinkSettings): number {
  return Math.max(LEAST_QUEUE_BYTES, Math.ceil((settings.rateMbit * settings.rttMs * 1000) / 8));
}

export function rateBytesPerMs(settings: LinkSettings): number {
  return settings.rateMbit * 125;
}

/** What passed between two readings. */
export function statsSince(before: LinkStats, now: LinkStats): LinkStats {
  const difference = (a: DirectionStats, b: DirectionStats): DirectionStats => ({
    packets: b.packets - a.packets,
    bytes: b.bytes - a.bytes,
    drops: b.drops - a.drops,
  });
  return { down: difference(before.down, now.down), up: difference(before.up, now.up) };
}
