/** One thing to be closed when the process ends. */
export interface ShutdownStep {
  readonly name: string;
  /** Stops what it stands for. Once `signal` is aborted it must cut what is left and return soon. */
  close(signal: AbortSignal): Promise<void>;
}

export interface ShutdownRequest {
  /** Closed one after the other, in this order: what takes in work first, what it works with last. */
  readonly steps: readonly ShutdownStep[];
  /** After this all steps, together, are told to cut. */
  readonly drainLimitMs: number;
  /** Told of a step that failed; the following ones are closed none the less. */
  readonly onError: (step: string, error: unknown) => void;
}

/** Drains, then cuts. @returns true when nothing failed and nothing had to be cut. */
export async function shutDown({ steps, drainLimitMs, onError }: ShutdownRequest): Promise<boolean> {
  const cut = AbortSignal.timeout(drainLimitMs);
  let clean = true;
  for (const step of steps) {
    try {
      await step.close(cut);
    } catch (error) {
      clean = false;
      onError(step.name, error);
    }
  }
  return clean && !cut.aborted;
}

/** What of a process is needed to hear its signals: `process` itself fits. */
export interface SignalSource {
  on(signal: 'SIGTERM' | 'SIGINT', listener: () => void): unknown;
  off(signal: 'SIGTERM' | 'SIGINT', listener: () => void): unknown;
}

/** Resolves with the first SIGTERM or SIGINT. A later one then acts as the system has it: it kills. */
export function terminationSignal(source: SignalSource): Promise<'SIGTERM' | 'SIGINT'> {
  return new Promise((resolve) => {
    const done = (signal: 'SIGTERM' | 'SIGINT') => {
      source.off('SIGTERM', onTerm);
      source.off('SIGINT', onInt);
      resolve(signal);
    };
    const onTerm = () => done('SIGTERM');
    const onInt = () => done('SIGINT');
    source.on('SIGTERM', onTerm);
    source.on('SIGINT', onInt);
  });
}
