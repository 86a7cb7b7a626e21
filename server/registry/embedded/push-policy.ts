/** What pushes may do beside the ordinary. */
export interface PushPolicy {
  /** Take a blob over from any other repository, from one that the push names, or from none. */
  readonly crossMount: 'any' | 'named' | 'off';
  /** Leave a manifest in a repository that lacks blobs that it names. */
  readonly sparse: boolean;
}

export const DEFAULT_PUSH_POLICY: PushPolicy = { crossMount: 'any', sparse: false };
