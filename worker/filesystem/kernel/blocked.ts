/** An OPEN or READ that waits for its content. */
export interface BlockedRequest {
  readonly inode: number;
  readonly content: number;
  /** Of the waiting thread, in the process ids of the mount. */
  readonly threadId: number;
  /** Undefined for an OPEN. */
  readonly read: { readonly offset: number; readonly size: number } | undefined;
}

/**
 * The requests that wait, by their unique, and the rule for interrupting them: the kernel sends INTERRUPT
 * once, for any signal, and a request answered with EINTR because of a SIGCHLD or a profiler's tick would be
 * a failed open. So a request is let go only when its thread has SIGKILL pending; an interrupted one is
 * looked at again and again, since the SIGKILL may follow the signal that was announced.
 */
export class BlockedRequests {
  readonly #requests = new Map<bigint, BlockedRequest>();
  readonly #interrupted = new Set<bigint>();
  readonly #isKilled: (threadId: number) => boolean;

  constructor(isKilled: (threadId: number) => boolean) {
    this.#isKilled = isKilled;
  }

  add(unique: bigint, request: BlockedRequest): void {
    this.#requests.set(unique, request);
  }

  /** Removes a request; undefined when it is no longer waiting. */
  take(unique: bigint): BlockedRequest | undefined {
    const request = this.#requests.get(unique);
    this.#requests.delete(unique);
    this.#interrupted.delete(unique);
    return request;
  }

  /** Notes an INTERRUPT; true when the request is to be let go at once. */
  interrupt(unique: bigint): boolean {
    const request = this.#requests.get(unique);
    if (request === undefined) return false;
    this.#interrupted.add(unique);
    return this.#isKilled(request.threadId);
  }

  get hasInterrupted(): boolean {
    return this.#interrupted.size > 0;
  }

  /** The interrupted requests whose thread is being killed by now. */
  reap(): bigint[] {
    return [...this.#interrupted].filter((unique) => {
      const request = this.#requests.get(unique);
      return request !== undefined && this.#isKilled(request.threadId);
    });
  }
}
