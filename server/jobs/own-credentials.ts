import type { CredentialSource } from '../../schemas/registry-auth/credentials.ts';
import {
  basicAuthorization,
  IDENTITY_TOKEN_USER,
  isIdentityToken,
} from '../../schemas/registry-auth/credentials.ts';

/**
 * What the proxy presents at one upstream when nobody's request is behind what it does: the value of Authorization,
 * undefined for none. Looked up each time, so that it may be renewed on the disk.
 */
export type OwnAuthorization = (signal: AbortSignal) => Promise<string | undefined>;

/** `host` is what the credentials are looked up by. */
export function ownAuthorization(host: string, credentials: CredentialSource): OwnAuthorization {
  return async (signal) => {
    const found = await credentials(host, signal);
    if (found === undefined) return undefined;
    // As docker's helpers write it, and as the upstream's client knows it again.
    return basicAuthorization(
      isIdentityToken(found) ? { username: IDENTITY_TOKEN_USER, password: found.identityToken } : found,
    );
  };
}
