import { execFile } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type CredentialSource, type Login, loginOf } from './credentials.ts';
import { credentialsIn, type DockerConfig, entryFor, readDockerConfig } from './docker-config.ts';

const run = promisify(execFile);
const HELPER_TIMEOUT_MS = 30_000;
/** A password and its name are short; a helper that says more is ended. */
const MAX_HELPER_BYTES = 256 << 10;
/** What helpers know the Docker Hub by. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

/**
 * The credentials of the docker config.json at `path`, read anew each time so that they may be renewed on the disk.
 * Credential helpers (`credHelpers`, `credsStore`) are not run. It throws {@link DockerConfigError} when the file
 * cannot be read or is malformed; one that does not exist holds nothing.
 */
export function fileCredentials(path: string): CredentialSource {
  return async (host) => {
    const config = await readDockerConfig(path);
    return config === undefined ? undefined : credentialsIn(config, host);
  };
}

/**
 * The credentials that `docker login` and `podman login` have left on this machine, credential helpers included.
 * It throws {@link DockerConfigError} as {@link fileCredentials} does.
 */
export function loginCredentials(env: NodeJS.ProcessEnv): CredentialSource {
  return async (host, signal) => {
    for (const path of loginFiles(env)) {
      const config = await readDockerConfig(path);
      const found = config === undefined ? undefined : await findIn(config, host, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/** Where docker and podman keep credentials, in the order in which they are looked at. */
function loginFiles(env: NodeJS.ProcessEnv): string[] {
  const files: string[] = [];
  if (env['REGISTRY_AUTH_FILE'] !== undefined) files.push(env['REGISTRY_AUTH_FILE']);
  if (env['XDG_RUNTIME_DIR'] !== undefined) files.push(join(env['XDG_RUNTIME_DIR'], 'containers/auth.json'));
  files.push(join(env['DOCKER_CONFIG'] ?? join(env['HOME'] ?? homedir(), '.docker'), 'config.json'));
  return files;
}

async function findIn(config: DockerConfig, host: string, signal: AbortSignal): Promise<Login | undefined> {
  const helper = entryFor(config.credHelpers, host);
  const helped = helper === undefined ? undefined : await askHelper(helper[1], helper[0], signal);
  const found = helped ?? credentialsIn(config, host);
  if (found !== undefined || config.credsStore === undefined) return found;
  return await askHelper(config.credsStore, host === 'docker.io' ? DOCKER_HUB_KEY : host, signal);
}

/** `docker-credential-<helper> get`: the host on standard input, JSON on standard output. */
async function askHelper(helper: string, host: string, signal: AbortSignal): Promise<Login | undefined> {
  if (!/^[A-Za-z0-9._-]+$/.test(helper)) return undefined;
  const asked = run(`docker-credential-${helper}`, ['get'], {
    signal,
    timeout: HELPER_TIMEOUT_MS,
    maxBuffer: MAX_HELPER_BYTES,
    killSignal: 'SIGKILL',
  });
  asked.child.stdin?.on('error', () => undefined); // a helper may end without reading
  asked.child.stdin?.end(host);
  try {
    const answer: unknown = JSON.parse((await asked).stdout);
    const { Username: username, Secret: password } = answer as { Username?: unknown; Secret?: unknown };
    if (typeof username !== 'string' || typeof password !== 'string') return undefined;
    return loginOf({ username, password });
  } catch {
    signal.throwIfAborted();
    return undefined; // the helper knows of none: it says so by failing
  }
}
