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
  readonly outcome: 'sent' | 'cancelled' | 'too-slow' | 'file-too-short' | 'connection-lost';
}

/** How fast a client must take what it is sent, so as not to be given up: so many bytes over this time, one at least. */
export interface Pace {
  readonly bytesPerS: number;
  /** 0: it may take as long as it likes. */
  readonly graceMs: number;
}

export interface ThreadData {
  /** An event descriptor that is rung after every command. */
  readonly waker: number;
  readonly pace: Pace;
}
