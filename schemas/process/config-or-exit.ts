import type { LoadedConfig } from '../config/load.ts';

/** What of a process this needs: `process` itself fits. */
export interface ConfigConsole {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  exit(code: number): never;
}

/**
 * The configuration; or ends the process: with 0 after printing help or version, with 1 after printing every
 * fault to stderr.
 */
export function configOrExit<T>(name: string, loaded: LoadedConfig<T>, on: ConfigConsole): T {
  switch (loaded.kind) {
    case 'config':
      return loaded.value;
    case 'help':
    case 'version':
      on.stdout.write(loaded.text);
      return on.exit(0);
    case 'faults': {
      const count = loaded.faults.length === 1 ? '1 fault' : `${loaded.faults.length} faults`;
      const lines = loaded.faults.map((fault) => `  ${fault}\n`).join('');
      on.stderr.write(`${name}: ${count} in the configuration:\n${lines}(see ${name} --help)\n`);
      return on.exit(1);
    }
    default:
      return loaded satisfies never;
  }
}
