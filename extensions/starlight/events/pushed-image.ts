import type { Digest } from '../../../schemas/oci/digest.ts';

/** What an event says was pushed. Nothing of it is believed: it is looked up in the registry. */
export interface PushedImage {
  /** What the registry that tells calls the repository. */
  readonly name: string;
  /** A tag, or a digest where nothing was tagged. */
  readonly reference: string;
  readonly digest?: Digest;
}

/** What a format made of a body: the images pushed, and how many events told of something else. */
export interface ReadEvents {
  readonly pushed: readonly PushedImage[];
  readonly ignored: number;
}

/** Events of one body. */
export const MAX_EVENTS = 1_000;
