import { readFile } from 'node:fs/promises';
import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';

const DockerConfigSchema = Type.Object({
  auths: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({
        auth: Type.Optional(Type.String()),
        username: Type.Optional(Type.String()),
        password: Type.Optional(Type.String()),
        identitytoken: Type.Optional(Type.String()),
      }),
    ),
  ),
});
type DockerAuth = NonNullable<Static<typeof DockerConfigSchema>['auths']>[string];
const checkDockerConfig = TypeCompiler.Compile(DockerConfigSchema);

/** A user's name and password at a registry. */
export type Credentials = { readonly username: string; readonly password: string };

/** A docker config.json that is there and cannot be used. */
export class DockerConfigError extends Error {
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`${path}: ${reason}`, options);
    this.name = 'DockerConfigError';
  }
}

/**
 * What the `auths` of the docker config.json at `path` say for a registry host; undefined where they say
 * nothing or the file does not exist. Read anew each time, so that credentials may be renewed on the disk.
 * Credential helpers (`credHelpers`, `credsStore`) are not run.
 *
 * @throws {DockerConfigError} when the file cannot be read or is malformed.
 */
export async function dockerCredentials(path: string, host: string): Promise<Credentials | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new DockerConfigError(path, 'cannot be read as JSON', { cause });
  }
  if (!checkDockerConfig.Check(value)) throw new DockerConfigError(path, 'is not a docker config.json');
  for (const [key, auth] of Object.entries(value.auths ?? {})) {
    if (hostOfKey(key) === canonicalHost(host)) return credentialsOf(auth);
  }
  return undefined;
}

/** Parses `user:password`; undefined when there is no colon. */
export function parseUserPassword(text: string): Credentials | undefined {
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

export function basicAuthorization(credentials: Credentials): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}

function credentialsOf(auth: DockerAuth): Credentials | undefined {
  if (auth.username !== undefined && auth.password !== undefined) {
    return { username: auth.username, password: auth.password };
  }
  return auth.auth === undefined ? undefined : parseUserPassword(Buffer.from(auth.auth, 'base64').toString());
}

/** Keys are hosts or URLs, as `https://index.docker.io/v1/`. */
function hostOfKey(key: string): string {
  return canonicalHost(key.replace(/^https?:\/\//, '').replace(/\/.*$/, ''));
}

function canonicalHost(host: string): string {
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host.toLowerCase();
}
