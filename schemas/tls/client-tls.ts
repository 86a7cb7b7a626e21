import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, rootCertificates } from 'node:tls';

export interface ClientTlsFiles {
  /** PEM: authorities to trust beside the public ones that Node brings. */
  readonly caFile?: string | undefined;
  /** PEM: what this client shows where it is asked who it is, and the key. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/** Options of a TLS connection; empty where no file was given. */
export interface ClientTls {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/** A file that cannot be used. Its message names it, and what it was to be. */
export class ClientTlsError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ClientTlsError';
  }
}

/** Reads the files once. @throws {ClientTlsError} where one cannot be read, or certificate and key are no pair. */
export function readClientTls({ caFile, certFile, keyFile }: ClientTlsFiles): ClientTls {
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new ClientTlsError('a client certificate and its key: one of the two was not given');
  }
  const ca = caFile === undefined ? undefined : read(caFile, 'authorities to trust');
  const cert = certFile === undefined ? undefined : read(certFile, 'a client certificate');
  const key = keyFile === undefined ? undefined : read(keyFile, "a client certificate's key");
  // OpenSSL passes over a file of authorities in which there are none.
  if (ca !== undefined) check(caFile ?? '', () => new X509Certificate(ca));
  const pair = { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  check(`${certFile}, ${keyFile}`, () => createSecureContext(pair));
  return { ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }), ...pair };
}

function read(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ClientTlsError(`${file}: ${what}: ${reasonOf(cause)}`, { cause });
  }
}

function check(files: string, use: () => unknown): void {
  try {
    use();
  } catch (cause) {
    throw new ClientTlsError(`${files}: cannot be used: ${reasonOf(cause)}`, { cause });
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
