import type { BundleFiles } from '../../../schemas/bundle/header.ts';
import { consolidate, type Placement } from './consolidate.ts';
import { difference } from './difference.ts';
import { type HeldImage, type WantedImage, wordsOf } from './image.ts';
import { order } from './order.ts';

/** What a bundle is to bring, and where its payloads lie. */
export interface DeltaPlan {
  readonly files: BundleFiles;
  /** Of each payload, in the order of sending: which bytes of which layer blob. */
  readonly payloads: {
    /** Number of the layer in the concatenation of all images' layers. */
    readonly layer: Uint32Array;
    readonly offset: Float64Array;
    readonly length: Float64Array;
  };
}

/**
 * Plans the bundle for somebody who holds some images and wants others. Pure: the same question has the same
 * answer, bit for bit.
 */
export function planDelta(wanted: readonly WantedImage[], held: readonly HeldImage[]): DeltaPlan {
  const words = wanted.map(({ layers }) => wordsOf(layers));
  const asHeld = wanted.map(({ shown }, row) => ({
    words: words[row] ?? new Int32Array(0),
    shown: shown.content,
  }));
  const missing = difference(asHeld, held);
  const placement = consolidate(missing, wanted, words);
  return select(order(missing, placement, wanted, words), placement, wanted);
}

/**
 * Lays out files and payloads in an order of contents. A payload is sent once, at the place of the first of
 * its contents, and brings along all others of them that are wanted.
 */
export function select(
  sequence: Uint32Array,
  placement: Placement,
  wanted: readonly WantedImage[],
): DeltaPlan {
  const layers = wanted.flatMap((image) => image.layers);
  const firstPayload: number[] = [];
  let total = 0;
  for (const layer of layers) {
    firstPayload.push(total);
    total += layer.payloads.offset.length;
  }
  const payloadOf = (row: number): number =>
    (firstPayload[placement.layer[row] ?? 0] ?? 0) + (placement.payload[row] ?? 0);

  // Contents of each payload: heads of chains, filled from the back so that chains run in order of sending.
  const head = new Uint32Array(total);
  const next = new Uint32Array(sequence.length);
  for (let i = sequence.length - 1; i >= 0; i -= 1) {
    const row = sequence[i] ?? 0;
    const payload = payloadOf(row);
    next[row] = head[payload] ?? 0;
    head[payload] = row + 1;
  }
  const files = {
    content: new Uint32Array(sequence.length),
    payload: new Uint32Array(sequence.length),
    innerOffset: new Float64Array(sequence.length),
  };
  const payloads = {
    layer: new Uint32Array(total),
    offset: new Float64Array(total),
    length: new Float64Array(total),
  };
  let file = 0;
  let sent = 0;
  for (const first of sequence) {
    const payload = payloadOf(first);
    if (head[payload] === 0) continue;
    const rows: number[] = [];
    for (let row = head[payload] ?? 0; row !== 0; row = next[row - 1] ?? 0) rows.push(row - 1);
    head[payload] = 0;
    if (rows.length > 1)
      rows.sort((a, b) => (placement.innerOffset[a] ?? 0) - (placement.innerOffset[b] ?? 0));
    for (const row of rows) {
      files.content[file] = placement.content[row] ?? 0;
      files.payload[file] = sent;
      files.innerOffset[file] = placement.innerOffset[row] ?? 0;
      file += 1;
    }
    const layer = placement.layer[first] ?? 0;
    const columns = layers[layer]?.payloads;
    payloads.layer[sent] = layer;
    payloads.offset[sent] = columns?.offset[placement.payload[first] ?? 0] ?? 0;
    payloads.length[sent] = columns?.length[placement.payload[first] ?? 0] ?? 0;
    sent += 1;
  }
  return {
    files,
    payloads: {
      layer: payloads.layer.slice(0, sent),
      offset: payloads.offset.slice(0, sent),
      length: payloads.length.slice(0, sent),
    },
  };
}
