import type { Static, TObject } from '@sinclair/typebox';
import { helpText } from './help.ts';
import { type ConfigLeaf, leavesOf } from './leaf.ts';
import { readEnvSource, readFileSource, readFlagSource, type SourceReading } from './sources.ts';
import { configValues } from './values.ts';

export interface ConfigRequest<S extends TObject> {
  /** The program's name, for `--help`. */
  readonly name: string;
  /** One sentence on what the program is, for `--help`. */
  readonly summary?: string;
  readonly version?: string;
  /** Begins every variable, without the last underscore: `STARLIGHT_PROXY`. */
  readonly envPrefix: string;
  /**
   * Objects are groups, everything else is a value; `description` and `default` are used, `expected` says in words
   * what a pattern wants, and `secret: true` or `secret: 'url'` keeps a value out of print. A group wrapped in Type.Optional exists only if something
   * in it is set.
   */
  readonly schema: S;
  /** Without the program: `process.argv.slice(2)`. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file; throws where it cannot be read. */
  readonly readFile: (path: string) => string;
  /** Rules across several values; each string is a fault. Asked when every value by itself is good. */
  readonly check?: (value: Static<S>) => readonly string[];
}

export type LoadedConfig<T> =
  | { readonly kind: 'config'; readonly value: T }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'version'; readonly text: string }
  /** Everything that is wrong, each naming where it was said: a file's key, a variable or a flag. */
  | { readonly kind: 'faults'; readonly faults: readonly string[] };

/**
 * Reads a configuration from, lowest to highest precedence: the schema's defaults, a file, the environment,
 * flags. A faulty value is a fault even where a higher source overrides it.
 */
export function loadConfig<S extends TObject>(request: ConfigRequest<S>): LoadedConfig<Static<S>> {
  const leaves = leavesOf(request.schema, request.envPrefix);
  const flags = readFlagSource(leaves, request.argv);
  if (flags.help) {
    return { kind: 'help', text: helpText(request.name, request.summary ?? '', request.envPrefix, leaves) };
  }
  if (flags.version)
    return { kind: 'version', text: `${request.name} ${request.version ?? 'unversioned'}\n` };

  const file = flags.configFile ?? (request.env[`${request.envPrefix}_CONFIG`] || undefined);
  const readings: SourceReading[] = [
    file === undefined ? { settings: [], faults: [] } : readConfigFile(leaves, file, request.readFile),
    readEnvSource(leaves, request.envPrefix, request.env),
    flags,
  ];
  const values = configValues(
    leaves,
    readings.flatMap((reading) => reading.settings),
    (leaf) => `${leaf.key}: missing (set it in the file, as ${leaf.env} or as --${leaf.flag})`,
  );
  const faults = [...readings.flatMap((reading) => reading.faults), ...values.faults];
  const config = values.value as Static<S>; // every leaf was checked against its schema; of faulty ones nothing is made
  if (values.faults.length === 0) faults.push(...(request.check?.(config) ?? []));
  return faults.length > 0 ? { kind: 'faults', faults } : { kind: 'config', value: config };
}

function readConfigFile(
  leaves: readonly ConfigLeaf[],
  file: string,
  readFile: (path: string) => string,
): SourceReading {
  let text: string;
  try {
    text = readFile(file);
  } catch (error) {
    return {
      settings: [],
      faults: [`${file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`],
    };
  }
  return readFileSource(leaves, file, text);
}
