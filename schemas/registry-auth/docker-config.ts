import { readFile } from 'node:fs/promises';
import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { canonicalHost } from '../oci/host.ts';
import { isMissing } from '../process/system-error.ts';
import { type Login, loginOf, parseUserPassword } from './credentials.ts';

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
  credHelpers: Type.Optional(Type.Record(Type.String(), Type.String())),
  credsStore: Type.Optional(Type.String()),
});
const checkDockerConfig = TypeCompiler.Compile(DockerConfigSchema);

/** A docker config.json, or containers-auth.json(5), as far as it is used. */
export type DockerConfig = Static<typeof DockerConfigSchema>;
type DockerAuth = NonNullable<DockerConfig['auths']>[string];

/** A docker config.json that is there and cannot be used. Its message shows nothing of what the file holds. */
export class DockerConfigError extends Error {
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`${path}: ${reason}`, options);
    this.name = 'DockerConfigError';
  }
}

/** @returns undefined when the file does not exist. @throws {DockerConfigError} when it is unreadable or malformed. */
export async function readDockerConfig(path: string): Promise<DockerConfig | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new DockerConfigError(path, 'cannot be read as JSON', { cause });
  }
  if (!checkDockerConfig.Check(value)) throw new DockerConfigError(path, 'is not a docker config.json');
  return value;
}

/** What the `auths` of a config say for a registry host. */
export function credentialsIn(config: DockerConfig, host: string): Login | undefined {
  const entry = entryFor(config.auths, host);
  return entry === undefined ? undefined : credentialsOf(entry[1]);
}

/**
 * The entry for a registry host, with its key. Keys are hosts or URLs, as `https://index.docker.io/v1/`; the host
 * itself goes before them.
 */
export function entryFor<T>(
  entries: Readonly<Record<string, T>> | undefined,
  host: string,
): readonly [key: string, value: T] | undefined {
  const found = Object.entries(entries ?? {}).filter(([key]) => hostOfKey(key) === canonicalHost(host));
  return found.find(([key]) => key === host) ?? found[0];
}

/** An identity token goes before a password, as docker has it. */
function credentialsOf(auth: DockerAuth): Login | undefined {
  const { identitytoken, username, password } = auth;
  if (identitytoken !== undefined && identitytoken !== '') return { identityToken: identitytoken };
  if (username !== undefined && password !== undefined) return loginOf({ username, password });
  const decoded =
    auth.auth === undefined ? undefined : parseUserPassword(Buffer.from(auth.auth, 'base64').toString());
  return decoded === undefined ? undefined : loginOf(decoded);
}

function hostOfKey(key: string): string {
  return canonicalHost(key.replace(/^https?:\/\//, '').replace(/\/.*$/, ''));
}
