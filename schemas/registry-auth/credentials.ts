/** A name and a password (or token) for a registry. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** What a registry may give out at a login instead of keeping the password: it is exchanged for tokens (OAuth 2). */
export interface IdentityToken {
  readonly identityToken: string;
}

/** What somebody presents to a registry or its token service. */
export type Login = Credentials | IdentityToken;

/** Gives the login for a host, if there is one. */
export type CredentialSource = (host: string, signal: AbortSignal) => Promise<Login | undefined>;

/** Docker's convention (docker-credential-helpers): under this name, what stands for the password is an identity token. */
export const IDENTITY_TOKEN_USER = '<token>';

export function loginOf(credentials: Credentials): Login {
  const { username, password } = credentials;
  return username === IDENTITY_TOKEN_USER ? { identityToken: password } : credentials;
}

export function isIdentityToken(login: Login): login is IdentityToken {
  return 'identityToken' in login;
}

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

/** What a Basic `Authorization` header says; undefined for any other. */
export function parseBasicAuthorization(header: string): Credentials | undefined {
  const match = /^basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(header);
  return match?.[1] === undefined ? undefined : parseUserPassword(Buffer.from(match[1], 'base64').toString());
}
