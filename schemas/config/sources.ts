import { parseDocument } from 'yaml';
import type { ConfigLeaf } from './leaf.ts';
import { parseText } from './parse-text.ts';

/** A value and where it was said. */
export interface Setting {
  readonly leaf: ConfigLeaf;
  readonly value: unknown;
  /**
   * For messages: `listen.port in /etc/x.yaml`, `STARLIGHT_PROXY_LISTEN_PORT` or `--listen-port`; `below` is
   * where in a list of groups, as `[0].url`.
   */
  readonly origin: (below?: string) => string;
}

/** What one source said, and what was wrong with the saying (not with the values: those are checked later). */
export interface SourceReading {
  readonly settings: readonly Setting[];
  readonly faults: readonly string[];
}

/** A configuration file is small; anything larger is the wrong file. */
export const MAX_CONFIG_FILE_CHARS = 1 << 20;

/** Reads a YAML file (JSON is YAML). A key without a value (null) counts as not set. */
export function readFileSource(leaves: readonly ConfigLeaf[], file: string, text: string): SourceReading {
  if (text.length > MAX_CONFIG_FILE_CHARS) return { settings: [], faults: [`${file}: larger than 1 MiB`] };
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors.length > 0) {
    return {
      settings: [],
      faults: document.errors.map((error) => `${file}: ${error.message.split('\n')[0]}`),
    };
  }
  let root: unknown;
  try {
    root = document.toJS();
  } catch (error) {
    return { settings: [], faults: [`${file}: ${error instanceof Error ? error.message : String(error)}`] };
  }
  if (root === null || root === undefined) return { settings: [], faults: [] };
  if (!isGroup(root)) return { settings: [], faults: [`${file}: its top level is not a mapping`] };
  return readGroup(leaves, root, (key) => `${key} in ${file}`);
}

/** Reads the values of a mapping, mappings within it included. `origin` says where a key stands. */
export function readGroup(
  leaves: readonly ConfigLeaf[],
  root: Readonly<Record<string, unknown>>,
  origin: (key: string) => string,
): SourceReading {
  const byKey = new Map(leaves.map((leaf) => [leaf.key, leaf]));
  const groups = new Set(
    leaves.flatMap((leaf) => leaf.path.slice(0, -1).map((_, i) => leaf.path.slice(0, i + 1).join('.'))),
  );
  const settings: Setting[] = [];
  const faults: string[] = [];
  const walk = (group: Readonly<Record<string, unknown>>, prefix: string): void => {
    for (const [name, value] of Object.entries(group)) {
      const key = prefix + name;
      const leaf = byKey.get(key);
      if (leaf !== undefined) {
        if (value !== null) settings.push({ leaf, value, origin: (below = '') => origin(key + below) });
      } else if (!groups.has(key)) {
        faults.push(`${origin(key)}: unknown key`);
      } else if (isGroup(value)) {
        walk(value, `${key}.`);
      } else if (value !== null) {
        faults.push(`${origin(key)}: expected a mapping`);
      }
    }
  };
  walk(root, '');
  return { settings, faults };
}

export function isGroup(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads the variables that begin with `<envPrefix>_`. An empty one counts as not set. Those that Kubernetes
 * itself sets for a service of the same name (`<envPrefix>_SERVICE_HOST`, `<envPrefix>_PORT_8090_TCP`, …) are
 * not ours and are passed over; any other unknown one is a fault.
 */
export function readEnvSource(
  leaves: readonly ConfigLeaf[],
  envPrefix: string,
  env: Readonly<Record<string, string | undefined>>,
): SourceReading {
  const byEnv = new Map(leaves.map((leaf) => [leaf.env, leaf]));
  const settings: Setting[] = [];
  const faults: string[] = [];
  for (const name of Object.keys(env).sort()) {
    if (!name.startsWith(`${envPrefix}_`) || name === `${envPrefix}_CONFIG`) continue;
    const text = env[name] ?? '';
    const leaf = byEnv.get(name);
    if (leaf !== undefined) {
      if (text !== '')
        settings.push({ leaf, value: parseText(leaf, text), origin: (below = '') => name + below });
    } else if (
      !/^_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_.+)?)?)$/.test(
        name.slice(envPrefix.length),
      )
    ) {
      faults.push(`${name}: unknown environment variable`);
    }
  }
  return { settings, faults };
}

export interface FlagReading extends SourceReading {
  readonly help: boolean;
  readonly version: boolean;
  readonly configFile?: string;
}

/**
 * Reads `--flag value`, `--flag=value`, `--switch`, `--no-switch`. A list flag may be repeated; any other
 * flag given twice is a fault.
 */
export function readFlagSource(leaves: readonly ConfigLeaf[], argv: readonly string[]): FlagReading {
  const byFlag = new Map(leaves.map((leaf) => [leaf.flag, leaf]));
  const settings = new Map<ConfigLeaf, Setting>();
  const faults: string[] = [];
  let help = false;
  let version = false;
  let configFile: string | undefined;
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const match = /^--([a-z0-9-]+)(?:=(.*))?$/s.exec(word);
    const name = match?.[1] ?? '';
    if (word === '--help' || word === '-h') {
      help = true;
      continue;
    }
    if (word === '--version' || word === '-V') {
      version = true;
      continue;
    }
    const leaf = byFlag.get(name);
    const negated = leaf === undefined && name.startsWith('no-') ? byFlag.get(name.slice(3)) : undefined;
    if (negated?.kind === 'boolean' && match?.[2] === undefined) {
      set(negated, false, word);
      continue;
    }
    if (leaf === undefined && name !== 'config') {
      faults.push(`${word.slice(0, 80)}: ${word.startsWith('-') ? 'unknown flag' : 'unexpected argument'}`);
      continue;
    }
    if (leaf?.kind === 'boolean' && match?.[2] === undefined) {
      set(leaf, true, word);
      continue;
    }
    const text = match?.[2] ?? (rest[0]?.startsWith('--') === true ? undefined : rest.shift());
    if (text === undefined) faults.push(`--${name}: needs a value`);
    else if (leaf === undefined) configFile = text;
    else set(leaf, parseText(leaf, text), `--${name}`);
  }
  return {
    settings: [...settings.values()],
    faults,
    help,
    version,
    ...(configFile === undefined ? {} : { configFile }),
  };

  function set(leaf: ConfigLeaf, value: unknown, origin: string): void {
    const before = settings.get(leaf);
    const where = (below = ''): string => origin + below;
    if (before === undefined) settings.set(leaf, { leaf, value, origin: where });
    else if (Array.isArray(before.value) && Array.isArray(value)) {
      settings.set(leaf, { leaf, value: [...before.value, ...value], origin: where });
    } else faults.push(`${origin}: given more than once`);
  }
}
