import type { Directory, RankRow, RepositoryKey } from './directory.ts';
import type { ImageStore, LoadedImage } from './image-store.ts';
import { inheritRanks } from './optimizer/inherit-ranks.ts';

/** The ranks by which an image's files are ordered. */
export interface EffectiveRanks {
  readonly ranks: readonly RankRow[];
  /** Changes whenever the ranks do: for keys of plans that depend on them. */
  readonly version: string;
}

/**
 * An image's own ranks. One that nobody has traced yet takes those of the image of its repository and platform
 * that came last among the traced: a version is usually traced only after the next has been pushed.
 */
export async function ranksOf(
  image: LoadedImage,
  repository: RepositoryKey,
  directory: Directory,
  images: ImageStore,
  signal: AbortSignal,
): Promise<EffectiveRanks> {
  const { manifest, platform } = image.record;
  const own = await directory.ranks(manifest.digest, signal);
  if (own.ranks.length > 0) return { ranks: own.ranks, version: `${own.version}` };
  const question = { repository, platform, except: manifest.digest, traced: true };
  const sibling = await directory.predecessor(question, signal);
  if (sibling === undefined) return { ranks: [], version: `${own.version}` };
  const { ranks, version } = await directory.ranks(sibling, signal);
  const old = await images.image(sibling, signal);
  return {
    ranks: inheritRanks(old?.tree, ranks, image.tree),
    version: `${own.version} ${sibling} ${version}`,
  };
}
