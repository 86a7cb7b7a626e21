import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import type { VersionBody } from '../control/protocol.ts';
import { CliError } from './cli-error.ts';
import type { ContextSource } from './context.ts';

/** The version of this program, from the package it is part of. */
export function ownVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version; // our own file
}

export function versionCommand(context: ContextSource): Command {
  return new Command('version')
    .summary('of this program and of the daemon')
    .description('Prints the version of this program and, where it runs, of the daemon.')
    .addHelpText('after', '\nExample:\n  ctr-starlight version')
    .action(async () => {
      const { daemon, terminal, signal } = context();
      let other: VersionBody | undefined;
      let why = 'not running';
      try {
        other = await daemon.get<VersionBody>('/v1/version', signal);
      } catch (error) {
        // A machine that only converts has no daemon, and not everybody may ask it: no failure of `version`.
        if (!(error instanceof CliError)) throw error;
        if (error.code === 'denied') why = 'only root may ask it';
        else if (error.code !== 'daemon-unreachable') throw error;
      }
      const client = ownVersion();
      if (terminal.json) terminal.out(`${JSON.stringify({ client, daemon: other?.version ?? null })}\n`);
      else
        terminal.out(
          `ctr-starlight    ${client}\nstarlight-daemon ${other?.version ?? `${why} (${daemon.socketPath})`}\n`,
        );
    });
}
