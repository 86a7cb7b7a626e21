import type { ControlClient } from './control-client.ts';
import type { Terminal } from './terminal.ts';

/** What every command is given; made anew from the global options for each run. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly daemon: ControlClient;
  readonly signal: AbortSignal;
}

/** Asks for the context once the global options are known. */
export type ContextSource = () => CommandContext;
