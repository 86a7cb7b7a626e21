import { type ConfigLeaf, expectation, leavesOf, recordSchema } from './leaf.ts';
import { REDACTED } from './redact.ts';

/** The text of `--help`: every leaf with its flag, variable, meaning and default, in the schema's order. */
export function helpText(
  name: string,
  summary: string,
  envPrefix: string,
  leaves: readonly ConfigLeaf[],
): string {
  const lines = [
    `Usage: ${name} [flags]`,
    '',
    summary,
    '',
    'Values are taken from, the later overriding the earlier: the defaults below, the file named by --config',
    `or ${envPrefix}_CONFIG (YAML or JSON, by the key in parentheses), the environment, the flags.`,
    '',
    '  -h, --help',
    '        Print this text.',
    '  -V, --version',
    '        Print the version.',
    '  --config FILE',
    `        The configuration file. [env ${envPrefix}_CONFIG]`,
  ];
  for (const leaf of leaves) {
    lines.push(
      `  --${leaf.flag}${leaf.kind === 'boolean' ? '' : ` ${placeholder(leaf)}`}`,
      ...(leaf.description === '' ? [] : [`        ${leaf.description}`]),
      `        ${capital(expectation(leaf))}${presence(leaf)}. (${leaf.key}) [env ${leaf.env}]`,
      ...entryLines(leaf),
    );
  }
  return `${lines.join('\n')}\n`;
}

/** What may stand in each entry of a list of groups. */
function entryLines(leaf: ConfigLeaf): string[] {
  const record = recordSchema(leaf.schema);
  if (record === undefined) return [];
  return leavesOf(record, '').flatMap((entry) => [
    `        - ${entry.key}: ${capital(expectation(entry))}${presence(entry)}.`,
    ...(entry.description === '' ? [] : [`            ${entry.description}`]),
  ]);
}

function placeholder(leaf: ConfigLeaf): string {
  if (leaf.kind === 'integer' || leaf.kind === 'number') return 'N';
  return leaf.kind === 'list' ? 'A,B,…' : 'VALUE';
}

function presence(leaf: ConfigLeaf): string {
  const fallback: unknown = leaf.schema.default;
  if (fallback !== undefined)
    return `; default ${leaf.secret === true ? REDACTED : JSON.stringify(fallback)}`;
  if (!leaf.required) return '; optional';
  const group = leaf.optionalGroups.at(-1);
  return group === undefined ? '; required' : `; required where anything of ${group} is set`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
