import { join } from 'node:path';
import { run } from '../../scripts/lib/child.ts';

export interface MadeCertificate {
  readonly certFile: string;
  readonly keyFile: string;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** An authority of our own, in `directory`. */
export async function makeAuthority(directory: string, name: string): Promise<MadeCertificate> {
  const files = filesOf(directory, name);
  await run('openssl', [
    ...['req', '-x509', ...NEW_KEY, '-days', '2', '-subj', `/CN=${name}`],
    ...['-keyout', files.keyFile, '-out', files.certFile],
  ]);
  return files;
}

/** A certificate for localhost and 127.0.0.1, as server and as client, that an authority has signed. */
export async function makeCertificate(
  directory: string,
  name: string,
  authority: MadeCertificate,
): Promise<MadeCertificate> {
  const files = filesOf(directory, name);
  await run('openssl', [
    ...['req', '-x509', ...NEW_KEY, '-days', '2', '-subj', `/CN=${name}`],
    ...['-CA', authority.certFile, '-CAkey', authority.keyFile],
    ...[
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
      '-addext',
      'basicConstraints=critical,CA:FALSE',
    ],
    ...['-keyout', files.keyFile, '-out', files.certFile],
  ]);
  return files;
}

function filesOf(directory: string, name: string): MadeCertificate {
  return { certFile: join(directory, `${name}.pem`), keyFile: join(directory, `${name}.key`) };
}
