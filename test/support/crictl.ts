import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, run, tryRun } from '../../scripts/lib/child.ts';
import { buildGoTool, type GoTool } from '../../scripts/lib/go-tool.ts';

/** Speaks CRI v1, which containerd has had since 1.6. */
const TOOL: GoTool = {
  name: 'crictl',
  module: 'sigs.k8s.io/cri-tools',
  version: 'v1.30.0',
  sum: 'h1:3BpgxSTgjfS+5u2OXwuAqUVo0BQM09u2JuArMMth9NE=',
  package: './cmd/crictl',
};

/** The real crictl, built once by the Go module proxy, asking the CRI of one containerd. */
export class Crictl {
  readonly #binary: string;
  readonly #endpoint: string;

  private constructor(binary: string, endpoint: string) {
    this.#binary = binary;
    this.#endpoint = endpoint;
  }

  /** @throws {GoToolError} where it cannot be built. */
  static async of(socket: string): Promise<Crictl> {
    return new Crictl(await buildGoTool(TOOL), `unix://${socket}`);
  }

  /** @throws {Error} with what it printed when it fails. */
  async run(...args: string[]): Promise<string> {
    return await run(this.#binary, this.#argv(args), { timeoutMs: 120_000 });
  }

  async tryRun(...args: string[]): Promise<CommandResult> {
    return await tryRun(this.#binary, this.#argv(args), { timeoutMs: 120_000 });
  }

  #argv(args: readonly string[]): string[] {
    const endpoints = ['--runtime-endpoint', this.#endpoint, '--image-endpoint', this.#endpoint];
    return ['--timeout', '100s', ...endpoints, ...args];
  }
}

/** Writes the `hosts.toml` that makes containerd ask `mirror` for the images of `host`, and nobody else. */
export async function writeHosts(certsDir: string, host: string, mirror: string): Promise<void> {
  await mkdir(join(certsDir, host), { recursive: true });
  await writeFile(
    join(certsDir, host, 'hosts.toml'),
    `server = "http://127.0.0.1:1"\n[host."${mirror}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
}
