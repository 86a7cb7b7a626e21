import type { ImageSink, ImageSource } from '../../../schemas/image/image-endpoint.ts';
import type { RegistryReader } from '../registry-reader.ts';

/** A registry that the proxy fronts, as jobs use it: with the proxy's own rights, since nobody waits for them. */
export interface JobRegistry {
  /** The caller's authorization is passed over. */
  readonly reader: RegistryReader;
  /** What a tag or digest names, to be converted. */
  source(name: string, reference: string): ImageSource;
  /** The repository, to be written to; `tag` is what `publish` gives. */
  sink(name: string, tag: string): ImageSink;
  /** A repository's tags, at most MAX_NAMES; none where there is no such repository. */
  tags(name: string, signal: AbortSignal): Promise<readonly string[]>;
  /** The repositories, at most MAX_NAMES; undefined where the registry does not tell. */
  repositories(signal: AbortSignal): Promise<readonly string[] | undefined>;
}

/** Repositories of a registry, and tags of a repository, that are looked at. */
export const MAX_NAMES = 10_000;

/** By the key under which the directory has the registry; undefined where there is none (any more). */
export type JobRegistries = (key: string) => JobRegistry | undefined;
