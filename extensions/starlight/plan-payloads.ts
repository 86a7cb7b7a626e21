import { type BundleFiles, type BundlePayloads, PAYLOAD_ENCODING } from '../../schemas/bundle/header.ts';
import type { LoadedImage } from './image-store.ts';
import type { HeldImage } from './optimizer/image.ts';
import { planDelta } from './optimizer/plan-delta.ts';
import type { Rank } from './optimizer/ranks.ts';
import { type PayloadPlan, payloadPlan } from './payload-plan.ts';

export interface PayloadRequest {
  /** The repository of each wanted image. */
  readonly names: readonly string[];
  readonly wanted: readonly LoadedImage[];
  /** Of each wanted image. */
  readonly ranks: readonly (readonly Rank[])[];
  /** The images that the worker has. */
  readonly held: readonly HeldImage[];
}

/** The tables of a bundle's files and payloads, and where the payloads come from. */
export interface PlannedPayloads {
  readonly files: BundleFiles;
  readonly payloads: BundlePayloads;
  readonly plan: PayloadPlan;
}

/** What the optimizer chose, each payload with the layer blob that it is copied from. */
export function planPayloads({ names, wanted, ranks, held }: PayloadRequest): PlannedPayloads {
  const images = wanted.map(({ layerContents, shown, start }, row) => ({
    layers: layerContents,
    shown,
    start,
    ranks: ranks[row] ?? [],
  }));
  const { files, payloads } = planDelta(images, held);
  const sources = wanted.flatMap(({ record }, row) =>
    record.layers.map(({ digest }) => ({ name: names[row] ?? '', digest })),
  );
  const plan = payloadPlan(sources, payloads.layer, payloads.offset, payloads.length);
  const encoding = new Uint8Array(payloads.length.length).fill(PAYLOAD_ENCODING.gzipMember);
  return { files, payloads: { encoding, length: payloads.length, dictionary: new Uint8Array(0) }, plan };
}
