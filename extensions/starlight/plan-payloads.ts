import { type BundleFiles, type BundlePayloads, PAYLOAD_ENCODING } from '../../schemas/bundle/header.ts';
import type { TreeContents } from '../../schemas/toc/merge.ts';
import { imageCommand } from './image-command.ts';
import type { LoadedImage } from './image-store.ts';
import { planDelta } from './optimizer/plan-delta.ts';
import type { Rank } from './optimizer/ranks.ts';
import { type PayloadPlan, payloadPlan } from './payload-plan.ts';

export interface PayloadRequest {
  /** The repository of each wanted image. */
  readonly names: readonly string[];
  readonly wanted: readonly LoadedImage[];
  /** Of each wanted image. */
  readonly ranks: readonly (readonly Rank[])[];
  /** What the images show that the worker has. */
  readonly held: readonly TreeContents[];
}

/** The tables of a bundle's files and payloads, and where the payloads come from. */
export interface PlannedPayloads {
  readonly files: BundleFiles;
  readonly payloads: BundlePayloads;
  readonly plan: PayloadPlan;
}

/** What the optimizer chose, each payload with the layer blob that it is copied from. */
export function planPayloads({ names, wanted, ranks, held }: PayloadRequest): PlannedPayloads {
  const images = wanted.map(({ layers, tree, record }, row) => ({
    layers,
    tree,
    ranks: ranks[row] ?? [],
    command: imageCommand(record.config.bytes),
  }));
  const { files, payloads } = planDelta(images, held);
  const sources = wanted.flatMap(({ record }, row) =>
    record.layers.map(({ digest }) => ({ name: names[row] ?? '', digest })),
  );
  const plan = payloadPlan(sources, payloads.layer, payloads.offset, payloads.length);
  const encoding = new Uint8Array(payloads.length.length).fill(PAYLOAD_ENCODING.gzipMember);
  return { files, payloads: { encoding, length: payloads.length, dictionary: new Uint8Array(0) }, plan };
}
