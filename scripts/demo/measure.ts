import type { Edge, Snapshotter } from './edge.ts';
import type { WanLink } from './wan-link.ts';

/** From the pull command to the line that says "ready", and what crossed the link meanwhile. */
export interface Measurement {
  readonly pullMs: number;
  readonly readyMs: number;
  /** IP bytes in both directions until ready, and until everything had arrived. */
  readonly bytesToReady: number;
  readonly bytesInAll: number;
  /** Of Starlight: how much was there when the container said that it was ready. */
  readonly atReady?: Arrived;
}

export interface Arrived {
  readonly contents: number;
  readonly contentsTotal: number;
  readonly bytes: number;
  readonly bytesTotal: number;
}

export interface Measured {
  readonly snapshotter: Snapshotter;
  readonly reference: string;
  readonly id: string;
  readonly ready: RegExp;
}

/** Pulls and starts over the link as it is set; leaves the container running. */
export async function measure(edge: Edge, link: WanLink, what: Measured): Promise<Measurement> {
  await link.reset();
  const begin = performance.now();
  await edge.pull(what.snapshotter, what.reference);
  const pullMs = performance.now() - begin;
  await edge.startUntil(what.snapshotter, what.reference, what.id, what.ready);
  const readyMs = performance.now() - begin;
  const toReady = await link.bytes();
  const atReady = what.snapshotter === 'starlight' ? await arrived(edge, what.reference) : undefined;
  if (what.snapshotter === 'starlight') await edge.settle(what.reference);
  const inAll = await link.bytes();
  return {
    pullMs,
    readyMs,
    bytesToReady: toReady.down + toReady.up,
    bytesInAll: inAll.down + inAll.up,
    ...(atReady === undefined ? {} : { atReady }),
  };
}

async function arrived(edge: Edge, reference: string): Promise<Arrived> {
  const image = (await edge.status()).images.find((candidate) => candidate.reference === reference);
  if (image === undefined) throw new Error(`the daemon does not know ${reference}`);
  const { contentsArrived: contents, contentsTotal, bytesArrived: bytes, bytesTotal } = image;
  return { contents, contentsTotal, bytes, bytesTotal };
}
