import type { SecureContextOptions } from 'node:tls';
import type { Logger } from '../log.ts';
import type { Part } from '../part.ts';
import type { TlsConfig } from './config.ts';
import { TlsFiles, type TlsIdentity } from './tls-files.ts';

export interface TlsPart extends Part {
  /** As the files are now. */
  readonly options: SecureContextOptions;
  /** To be set to what hands a new certificate to the server. */
  renew: (options: SecureContextOptions) => void;
}

/** The server's certificate, kept up to date. @throws {TlsFilesError} where it cannot be used. */
export async function openTls(config: TlsConfig, logger: Logger): Promise<TlsPart> {
  const files = await TlsFiles.open({
    config,
    onReload: (outcome) => {
      if ('error' in outcome) {
        logger.error({ err: outcome.error }, 'certificate not read again: the one from before stays');
        return;
      }
      part.renew(outcome.identity.options);
      logIdentity(logger, outcome.identity);
    },
  });
  logIdentity(logger, files.identity);
  const part: TlsPart = {
    get options() {
      return files.identity.options;
    },
    renew: () => undefined,
    routes: [],
    checks: [],
    closing: [{ name: 'tls', close: async () => await files[Symbol.asyncDispose]() }],
    reloading: [() => files.reload()],
  };
  return part;
}

function logIdentity(logger: Logger, { subject, expires }: TlsIdentity): void {
  const fields = { subject, expires: expires.toISOString() };
  if (expires.getTime() < Date.now()) logger.error(fields, 'the certificate has expired');
  else logger.info(fields, 'certificate');
}
