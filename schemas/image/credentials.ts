import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A name and a password (or token) for a registry. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Gives the credentials for a host, if there are any. */
export type CredentialSource = (host: string, signal: AbortSignal) => Promise<Credentials | undefined>;

export const anonymous: CredentialSource = () => Promise.resolve(undefined);

const run = promisify(execFile);
const HELPER_TIMEOUT_MS = 30_000;
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

interface DockerConfig {
  readonly auths?: Readonly<Record<string, { readonly auth?: string }>>;
  readonly credHelpers?: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

/** Where docker and podman keep credentials, in the order in which they are looked at. */
export function credentialFiles(env: NodeJS.ProcessEnv): string[] {
  const files: string[] = [];
  if (env['REGISTRY_AUTH_FILE'] !== undefined) files.push(env['REGISTRY_AUTH_FILE']);
  if (env['XDG_RUNTIME_DIR'] !== undefined) files.push(join(env['XDG_RUNTIME_DIR'], 'containers/auth.json'));
  files.push(join(env['DOCKER_CONFIG'] ?? join(env['HOME'] ?? homedir(), '.docker'), 'config.json'));
  return files;
}

async function readConfig(file: string): Promise<DockerConfig | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null ? (value as DockerConfig) : undefined; // fields are checked where used
}

function decodeAuth(auth: unknown): Credentials | undefined {
  if (typeof auth !== 'string' || auth === '') return undefined;
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** `docker-credential-<helper> get`: the host on standard input, JSON on standard output. */
async function askHelper(
  helper: string,
  host: string,
  signal: AbortSignal,
): Promise<Credentials | undefined> {
  if (!/^[A-Za-z0-9._-]+$/.test(helper)) return undefined;
  const asked = run(`docker-credential-${helper}`, ['get'], { signal, timeout: HELPER_TIMEOUT_MS });
  asked.child.stdin?.end(host);
  try {
    const answer: unknown = JSON.parse((await asked).stdout);
    const { Username: username, Secret: password } = answer as { Username?: unknown; Secret?: unknown };
    return typeof username === 'string' && typeof password === 'string' ? { username, password } : undefined;
  } catch {
    signal.throwIfAborted();
    return undefined; // the helper knows of none: it says so by failing
  }
}

/** The credentials that `docker login` and `podman login` have left on this machine. */
export function dockerCredentials(env: NodeJS.ProcessEnv): CredentialSource {
  return async (host, signal) => {
    const keys =
      host === 'docker.io' ? [DOCKER_HUB_KEY, host] : [host, `https://${host}`, `https://${host}/`];
    for (const file of credentialFiles(env)) {
      const config = await readConfig(file);
      for (const key of keys) {
        const helper = config?.credHelpers?.[key];
        const found =
          helper === undefined
            ? decodeAuth(config?.auths?.[key]?.auth)
            : await askHelper(helper, key, signal);
        if (found !== undefined) return found;
      }
      if (typeof config?.credsStore !== 'string') continue;
      const found = await askHelper(config.credsStore, keys[0] ?? host, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}
