import { Command } from 'commander';
import type { PingBody } from '../control/protocol.ts';
import { CliError } from './cli-error.ts';
import type { ContextSource } from './context.ts';
import { formatDuration } from './terminal.ts';

export function pingCommand(context: ContextSource): Command {
  return new Command('ping')
    .summary('ask the daemon, its proxy and containerd whether they are there')
    .description(
      'Asks the daemon, and through it the proxy and containerd. Fails when one of them does not answer.',
    )
    .addHelpText('after', '\nExample:\n  ctr-starlight ping')
    .action(async () => {
      const { daemon, terminal, signal } = context();
      const body = await daemon.get<PingBody>('/v1/ping', signal);
      if (terminal.json) terminal.out(`${JSON.stringify(body)}\n`);
      else {
        terminal.out(`daemon      ok\n`);
        terminal.out(
          `proxy       ${body.proxy.ok ? `ok, ${formatDuration(body.proxy.elapsedMs)}` : `failed: ${body.proxy.error}`} (${body.proxy.url})\n`,
        );
        terminal.out(
          `containerd  ${body.containerd.ok ? 'ok' : `failed: ${body.containerd.error}`} (${body.containerd.address})\n`,
        );
      }
      if (!body.proxy.ok)
        throw new CliError('proxy-unreachable', `the proxy does not answer: ${body.proxy.error}`, {
          hint: "check proxy.url in the daemon's configuration",
        });
      if (!body.containerd.ok)
        throw new CliError('containerd-unreachable', `containerd does not answer: ${body.containerd.error}`, {
          hint: "check containerd.address in the daemon's configuration",
        });
    });
}
