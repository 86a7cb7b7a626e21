import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, Server } from '../../scripts/lib/child.ts';
import { freePort } from '../../scripts/lib/free-port.ts';

export interface DockerRegistryOptions {
  /** Instead of a free port of loopback. */
  readonly host?: string;
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
    const { notify } = options;
    const config = join(directory, 'registry.yml');
    await writeFile(
      config,
      `version: 0.1
storage:
  filesystem: { rootdirectory: ${join(directory, 'blobs')} }
  delete: { enabled: true }
http: { addr: "${host}" }
${notify === undefined ? '' : notifications(notify)}`,
    );
    const server = await Server.start(
      { command: 'docker-registry', args: ['serve', config], logFile: join(directory, 'registry.log') },
      answers(`http://${host}/v2/`),
    );
    return new DockerRegistry(host, server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}
