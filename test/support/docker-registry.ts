import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, Server } from '../../scripts/lib/child.ts';
import { freePort } from '../../scripts/lib/free-port.ts';

export interface DockerRegistryOptions {
  /** Another release of it than Debian's. */
  readonly command?: string;
  /** Instead of a free port of loopback. */
  readonly host?: string;
  /** The section `auth` of its configuration; without it everybody may do everything. */
  readonly auth?: string;
  /** Whom it tells of events, and with which Authorization. */
  readonly notify?: { readonly url: string; readonly authorization: string };
}

function notifications({ url, authorization }: NonNullable<DockerRegistryOptions['notify']>): string {
  return `notifications:
  endpoints:
    - name: proxy
      url: ${url}
      headers: { Authorization: ["${authorization}"] }
      timeout: 30s
      threshold: 100
      backoff: 100ms
`;
}

/** A real docker-registry on loopback, its files in `directory` (which exists). */
export class DockerRegistry implements AsyncDisposable {
  /** `127.0.0.1:<port>`, as references name it. */
  readonly host: string;
  readonly server: Server;

  private constructor(host: string, server: Server) {
    this.host = host;
    this.server = server;
  }

  static async start(directory: string, options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const host = options.host ?? `127.0.0.1:${await freePort()}`;
    const { notify, auth = '', command = 'docker-registry' } = options;
    const config = join(directory, 'registry.yml');
    await writeFile(
      config,
      `version: 0.1
storage:
  filesystem: { rootdirectory: ${join(directory, 'blobs')} }
  delete: { enabled: true }
http: { addr: "${host}" }
${notify === undefined ? '' : notifications(notify)}${auth}
`,
    );
    const server = await Server.start(
      { command, args: ['serve', config], logFile: join(directory, 'registry.log') },
      answers(`http://${host}/v2/`),
    );
    return new DockerRegistry(host, server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

/** Logins for `auth: { htpasswd: … }`, as `htpasswd -B` makes them: docker-registry takes no other kind. */
export const HTPASSWD: Readonly<
  Record<'alice' | 'bob', { readonly password: string; readonly line: string }>
> = {
  alice: {
    password: 'wonderland',
    line: 'alice:$2b$05$MgnEWRwDmTOZN4p.sTZR2uHL2UAIsuYL3tL9ioB/GWO4v5ZH9svdO',
  },
  bob: { password: 'builder', line: 'bob:$2b$05$3fv7ZM01AGcU1WqkGFms1uXtFD9ggOm3TdwU.JOKvo1MKFZihIuHK' },
};

/** The section that asks for one of those logins. */
export async function htpasswdAuth(directory: string): Promise<string> {
  const file = join(directory, 'htpasswd');
  await writeFile(
    file,
    `${Object.values(HTPASSWD)
      .map(({ line }) => line)
      .join('\n')}\n`,
  );
  return `auth: { htpasswd: { realm: test, path: ${file} } }`;
}
