/** What the main thread tells the sending thread. Numbers of descriptors are those of the process, hence of both. */
export type Command =
  | {
      readonly type: 'send';
      readonly id: number;
      /** Owned by the thread from now on, which closes it. */
      readonly socketFd: number;
      /** Kept open by the main thread until it hears the end. */
      readonly fileFd: number;
      readonly position: number;
      readonly sizeBytes: number;
    }
  | { readonly type: 'cancel'; readonly id: number }
  | { readonly type: 'stop' };

/** How a sending ended: the descriptors are not used any more. */
export interface Ended {
  readonly id: number;
  readonly outcome: 'sent' | 'cancelled' | 'stalled' | 'file-too-short' | 'connection-lost';
}

export interface ThreadData {
  /** An event descriptor that is rung after every command. */
  readonly waker: number;
  /** A client that takes nothing for this long is given up; 0: never. */
  readonly idleTimeoutMs: number;
}
