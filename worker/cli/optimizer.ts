import { Argument, Command } from 'commander';
import type { OptimizerBody } from '../control/protocol.ts';
import type { ContextSource } from './context.ts';

export function optimizerCommand(context: ContextSource): Command {
  return new Command('optimizer')
    .summary('record which files containers open first: on or off')
    .description(
      'With the optimizer on, the daemon records in which order containers open the files of their image. ' +
        '`ctr-starlight report` sends what was recorded to the proxy, which from then on sends files in that order. ' +
        'Only containers started while it is on are recorded: of others on a complete image the kernel reads alone.',
    )
    .addArgument(new Argument('<state>', 'what it is to be').choices(['on', 'off']))
    .addHelpText(
      'after',
      '\nExample:\n  ctr-starlight optimizer on\n  ctr run --rm --snapshotter starlight registry.example/redis:7 trace1\n  ctr-starlight report\n  ctr-starlight optimizer off',
    )
    .action(async (state: 'on' | 'off') => {
      const { daemon, terminal, signal } = context();
      const body = await daemon.post<OptimizerBody>('/v1/optimizer', { on: state === 'on' }, signal);
      terminal.out(terminal.json ? `${JSON.stringify(body)}\n` : `optimizer ${body.on ? 'on' : 'off'}\n`);
    });
}
