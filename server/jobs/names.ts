import { ImageError } from '../../schemas/image/image-error.ts';

/** The names under `key` in a registry's list, which may be null for none. @throws {ImageError} `malformed` */
export function namesIn(bytes: Uint8Array, key: 'tags' | 'repositories'): readonly string[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    value = undefined;
  }
  const list =
    typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  if (list === null) return [];
  if (Array.isArray(list) && list.every((one) => typeof one === 'string')) return list;
  throw new ImageError({ kind: 'malformed', what: key }, `the registry's list of ${key} is none`);
}
