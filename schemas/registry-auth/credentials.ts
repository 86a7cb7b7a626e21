/** A name and a password (or token) for a registry. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Gives the credentials for a host, if there are any. */
export type CredentialSource = (host: string, signal: AbortSignal) => Promise<Credentials | undefined>;

export const anonymous: CredentialSource = () => Promise.resolve(undefined);

/** Parses `user:password`; undefined when there is no colon. */
export function parseUserPassword(text: string): Credentials | undefined {
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The `Authorization` header of RFC 7617. */
export function basicAuthorization({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
