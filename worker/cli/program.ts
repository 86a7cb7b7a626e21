import { Command, Option } from 'commander';
import type { CommandContext } from './context.ts';
import { ControlClient } from './control-client.ts';
import { convertCommand } from './convert.ts';
import { gcCommand } from './gc.ts';
import { jobsCommand } from './jobs.ts';
import { mirrorsCommand } from './mirrors.ts';
import { notifyCommand } from './notify.ts';
import { optimizerCommand } from './optimizer.ts';
import { pingCommand } from './ping.ts';
import { pullCommand } from './pull.ts';
import { reportCommand } from './report.ts';
import { statusCommand } from './status.ts';
import type { Terminal } from './terminal.ts';
import { ownVersion, versionCommand } from './version.ts';

export const DEFAULT_SOCKET = '/run/starlight/starlight-control.sock';

/** `ctr-starlight`. `terminal` is asked for once it is known whether the output is to be JSON. */
export function createProgram(terminal: (json: boolean) => Terminal, signal: AbortSignal): Command {
  const program = new Command('ctr-starlight');
  const context = (): CommandContext => {
    const options = program.opts<{ socket: string; output: 'text' | 'json' }>();
    return {
      terminal: terminal(options.output === 'json'),
      daemon: new ControlClient(options.socket),
      signal,
    };
  };
  program
    .description('Starts containers before their contents have arrived.')
    .version(ownVersion())
    .addOption(
      new Option('-o, --output <format>', 'what is printed').choices(['text', 'json']).default('text'),
    )
    .addOption(
      new Option('--socket <path>', "the daemon's control socket")
        .env('STARLIGHT_SOCKET')
        .default(DEFAULT_SOCKET),
    )
    .showHelpAfterError('(ctr-starlight --help, or ctr-starlight COMMAND --help, says what there is)')
    .addHelpText(
      'after',
      `
Exit codes: 0 done, 1 failed (the reason is on standard error), 2 the command was not understood,
130 or 143 it was interrupted.

Examples:
  ctr-starlight convert --notify registry.example/redis:7 registry.example/starlight/redis:7
  ctr-starlight pull registry.example/starlight/redis:7
  ctr run --snapshotter starlight registry.example/starlight/redis:7 redis1`,
    );
  for (const make of [
    convertCommand,
    pullCommand,
    statusCommand,
    notifyCommand,
    mirrorsCommand,
    jobsCommand,
    optimizerCommand,
    reportCommand,
    gcCommand,
    pingCommand,
    versionCommand,
  ]) {
    program.addCommand(make(context));
  }
  return program;
}
