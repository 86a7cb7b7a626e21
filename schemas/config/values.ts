import { Value } from '@sinclair/typebox/value';
import { type ConfigLeaf, expectation, leavesOf, recordSchema } from './leaf.ts';
import { REDACTED } from './redact.ts';
import { isGroup, readGroup, type Setting } from './sources.ts';

export interface ValuesReading {
  /** In the shape of the schema; complete only where there are no faults. */
  readonly value: Record<string, unknown>;
  readonly faults: readonly string[];
}

/**
 * The values of `leaves`: of several settings for one the last, of none the default. Every setting is checked,
 * those too that another overrides. `missing` says that a required one is not set.
 */
export function configValues(
  leaves: readonly ConfigLeaf[],
  settings: readonly Setting[],
  missing: (leaf: ConfigLeaf) => string,
): ValuesReading {
  const faults: string[] = [];
  const chosen = new Map<ConfigLeaf, unknown>();
  for (const setting of settings) {
    const read = readValue(setting);
    faults.push(...read.faults);
    chosen.set(setting.leaf, read.value);
  }
  const present = new Set([...chosen.keys()].flatMap((leaf) => leaf.optionalGroups));
  const value: Record<string, unknown> = {};
  for (const leaf of leaves) {
    if (!leaf.optionalGroups.every((group) => present.has(group))) continue;
    groupOf(value, leaf.path); // a required group is there even if nothing in it is set
    const fallback: unknown = leaf.schema.default;
    if (chosen.has(leaf)) place(value, leaf.path, chosen.get(leaf));
    else if (fallback !== undefined) place(value, leaf.path, structuredClone(fallback));
    else if (leaf.required) faults.push(missing(leaf));
  }
  return { value, faults };
}

function readValue(setting: Setting): { value: unknown; faults: readonly string[] } {
  const { leaf, value, origin } = setting;
  const record = recordSchema(leaf.schema);
  if (record === undefined) {
    const fault = valueFault(setting);
    return { value, faults: fault === undefined ? [] : [fault] };
  }
  if (!Array.isArray(value)) return { value, faults: [`${origin()}: expected ${expectation(leaf)}`] };
  const leaves = leavesOf(record, '');
  const entries = value.map((entry: unknown, row): ValuesReading => {
    const at = (key: string): string => origin(`[${row}]${key === '' ? '' : `.${key}`}`);
    if (!isGroup(entry)) return { value: {}, faults: [`${at('')}: expected a mapping`] };
    const read = readGroup(leaves, entry, at);
    const values = configValues(leaves, read.settings, (one) => `${at(one.key)}: missing`);
    return { value: values.value, faults: [...read.faults, ...values.faults] };
  });
  const faults = entries.flatMap((entry) => entry.faults);
  const { minItems, maxItems } = leaf.schema;
  if (value.length < (minItems ?? 0)) faults.push(`${origin()}: expected at least ${minItems} entries`);
  if (value.length > (maxItems ?? Infinity)) faults.push(`${origin()}: expected at most ${maxItems} entries`);
  return { value: entries.map((entry) => entry.value), faults };
}

function valueFault({ leaf, value, origin }: Setting): string | undefined {
  if (Value.Check(leaf.schema, value)) return undefined;
  const got = leaf.secret === false ? JSON.stringify(value)?.slice(0, 120) : REDACTED;
  const first =
    leaf.kind === 'json' || leaf.kind === 'list' ? Value.Errors(leaf.schema, value).First() : undefined;
  const where = first === undefined ? '' : ` (at ${first.path || '/'}: ${first.message})`;
  return `${origin()}: expected ${expectation(leaf)}, got ${got}${where}`;
}

function place(root: Record<string, unknown>, path: readonly string[], value: unknown): void {
  groupOf(root, path)[path.at(-1) ?? ''] = value;
}

/** The group that holds the leaf at `path`, made where it is missing. */
function groupOf(root: Record<string, unknown>, path: readonly string[]): Record<string, unknown> {
  let group = root;
  for (const name of path.slice(0, -1)) {
    group[name] ??= {};
    group = group[name] as Record<string, unknown>; // made by the line above, here or at an earlier leaf
  }
  return group;
}
