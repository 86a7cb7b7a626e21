import { Command } from 'commander';
import type { GcBody } from '../control/protocol.ts';
import type { ContextSource } from './context.ts';
import { formatBytes } from './terminal.ts';

export function gcCommand(context: ContextSource): Command {
  return new Command('gc')
    .summary('remove what no image needs any more')
    .description(
      'Has containerd give up the snapshots that nothing needs, then removes images without snapshots and the contents that no image needs. The daemon does so by itself too.',
    )
    .addHelpText('after', '\nExample:\n  ctr image rm registry.example/redis:7 && ctr-starlight gc')
    .action(async () => {
      const { daemon, terminal, signal } = context();
      const body = await daemon.post<GcBody>('/v1/gc', {}, signal);
      if (body.containerdError !== undefined) {
        terminal.err(`warning: containerd has not collected its snapshots: ${body.containerdError}\n`);
      }
      terminal.out(
        terminal.json
          ? `${JSON.stringify(body)}\n`
          : `removed ${body.removedImages} images and ${body.removedContents} contents, freed ${formatBytes(body.removedBytes)}\n`,
      );
    });
}
