/** What every middleware finds in `ctx.state`. */
export interface RequestState {
  /** Aborted when the client goes away before it has been answered. */
  readonly signal: AbortSignal;
}
