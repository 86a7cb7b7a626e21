import type { Command } from 'commander';
import { type ClientTls, ClientTlsError, readClientTls } from '../../schemas/tls/client-tls.ts';
import { CliError } from './cli-error.ts';

/** What commander makes of the options. */
export interface TlsCliOptions {
  readonly caFile?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
}

/** Adds the options of HTTPS to a command that talks to registries or to the proxy. */
export function withTlsOptions(command: Command): Command {
  const { env } = process;
  return command
    .option(
      '--ca-file <file>',
      'authorities to trust beside the public ones, as PEM',
      env['STARLIGHT_CA_FILE'],
    )
    .option('--client-cert <file>', 'the certificate to show where one is asked for, as PEM')
    .option('--client-key <file>', 'its key, as PEM');
}

/** @throws {CliError} where a file cannot be used. */
export function tlsOf({ caFile, clientCert, clientKey }: TlsCliOptions): ClientTls {
  try {
    return readClientTls({ caFile, certFile: clientCert, keyFile: clientKey });
  } catch (cause) {
    if (!(cause instanceof ClientTlsError)) throw cause;
    throw new CliError('tls', cause.message, {
      cause,
      hint: 'see --ca-file, --client-cert and --client-key',
    });
  }
}
