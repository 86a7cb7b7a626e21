import { Command } from 'commander';
import type { ReportBody } from '../control/protocol.ts';
import type { ContextSource } from './context.ts';

export function reportCommand(context: ContextSource): Command {
  return new Command('report')
    .summary('send the recorded opens to the proxy')
    .description(
      'Sends what the optimizer recorded to the proxy; what the proxy has taken is forgotten here.',
    )
    .addHelpText('after', '\nExample:\n  ctr-starlight report')
    .action(async () => {
      const { daemon, terminal, signal } = context();
      const body = await daemon.post<ReportBody>('/v1/report', {}, signal);
      if (terminal.json) terminal.out(`${JSON.stringify(body)}\n`);
      else if (body.images.length === 0)
        terminal.out('nothing to report: `ctr-starlight optimizer on`, then start containers\n');
      else
        for (const image of body.images)
          terminal.out(`${image.reference}: ${image.opens} opens, ${image.accepted} accepted\n`);
    });
}
