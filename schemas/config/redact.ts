import type { TObject } from '@sinclair/typebox';
import { leavesOf, recordSchema } from './leaf.ts';

/** Stands wherever a secret was. */
export const REDACTED = '[redacted]';

/** A URL fit for a log: without user, password and query, which may all carry credentials. */
export function redactUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return REDACTED;
  }
  if (url.password !== '') url.password = 'redacted';
  if (url.search !== '') url.search = '?redacted';
  return url.href;
}

/** A copy of a configuration fit for a log: leaves marked `secret` in the schema are hidden. */
export function redactConfig(
  schema: TObject,
  value: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const copy = structuredClone(value) as Record<string, unknown>; // of plain data, so of the same shape
  for (const leaf of leavesOf(schema, '')) {
    const record = recordSchema(leaf.schema);
    if (leaf.secret === false && record === undefined) continue;
    let group: Record<string, unknown> | undefined = copy;
    for (const name of leaf.path.slice(0, -1)) {
      group = group?.[name] as Record<string, unknown> | undefined; // groups are objects by the schema
    }
    const name = leaf.path.at(-1) ?? '';
    const secret = group?.[name];
    if (group === undefined || secret === undefined) continue;
    if (record !== undefined && Array.isArray(secret)) {
      group[name] = secret.map((entry: Readonly<Record<string, unknown>>) => redactConfig(record, entry));
    } else group[name] = leaf.secret === 'url' && typeof secret === 'string' ? redactUrl(secret) : REDACTED;
  }
  return copy;
}
