import { type Static, Type } from '@sinclair/typebox';

const File = (description: string) => Type.String({ minLength: 1, description });

/** With this group set, the proxy speaks HTTPS. */
export const TlsSchema = Type.Object({
  certFile: File('A PEM file of our certificate, and of those between it and its root.'),
  keyFile: File('A PEM file of its private key, without a passphrase.'),
  clientCaFile: Type.Optional(
    File('A PEM file of authorities: only clients with a certificate of theirs may connect.'),
  ),
  minVersion: Type.Union([Type.Literal('TLSv1.2'), Type.Literal('TLSv1.3')], {
    default: 'TLSv1.2',
    description: 'The oldest version of TLS that is spoken.',
  }),
});
export type TlsConfig = Static<typeof TlsSchema>;
