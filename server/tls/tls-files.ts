import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { WatchedFiles } from '../watched-files.ts';
import type { TlsConfig } from './config.ts';

/** Certificate, key or authorities that cannot be used. */
export class TlsFilesError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TlsFilesError';
  }
}

/** What a server of TLS needs, and what is worth a line in the log. */
export interface TlsIdentity {
  readonly options: SecureContextOptions;
  readonly subject: string;
  readonly expires: Date;
}

export interface TlsFilesOptions {
  readonly config: TlsConfig;
  /** Told of each change of the files: the new identity, or why the old one stays. */
  readonly onReload: (outcome: { readonly identity: TlsIdentity } | { readonly error: unknown }) => void;
  readonly pollMs?: number;
}

/** Certificate and key of this server, as the files hold them now. A pair that is broken leaves the one before. */
export class TlsFiles implements AsyncDisposable {
  #identity: TlsIdentity;
  #watched: WatchedFiles | undefined;

  private constructor(identity: TlsIdentity) {
    this.#identity = identity;
  }

  /** @throws {TlsFilesError} where the files cannot be read or do not belong together. */
  static async open({ config, onReload, pollMs }: TlsFilesOptions): Promise<TlsFiles> {
    const made = new TlsFiles(await readIdentity(config));
    made.#watched = await WatchedFiles.open({
      files: [config.certFile, config.keyFile, ...(config.clientCaFile ? [config.clientCaFile] : [])],
      load: async () => {
        made.#identity = await readIdentity(config);
      },
      onReload: (error) => onReload(error === undefined ? { identity: made.#identity } : { error }),
      ...(pollMs === undefined ? {} : { pollMs }),
    });
    return made;
  }

  get identity(): TlsIdentity {
    return this.#identity;
  }

  async reload(): Promise<void> {
    await this.#watched?.reload();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watched?.[Symbol.asyncDispose]();
  }
}

async function readIdentity(config: TlsConfig): Promise<TlsIdentity> {
  const { certFile, keyFile, clientCaFile, minVersion } = config;
  const cert = await readPem('tls.certFile', certFile);
  const key = await readPem('tls.keyFile', keyFile);
  const ca = clientCaFile === undefined ? undefined : await readPem('tls.clientCaFile', clientCaFile);
  const options = { cert, key, minVersion, ...(ca === undefined ? {} : { ca }) };
  try {
    const certificate = new X509Certificate(cert);
    if (ca !== undefined) new X509Certificate(ca); // OpenSSL passes over a file without any
    createSecureContext(options);
    return { options, subject: certificate.subject, expires: new Date(certificate.validTo) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const files = [certFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])].join(', ');
    throw new TlsFilesError(`tls: ${files}: not a certificate and its key: ${reason}`, { cause });
  }
}

async function readPem(setting: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TlsFilesError(`${setting}: ${reason}`, { cause });
  }
}
