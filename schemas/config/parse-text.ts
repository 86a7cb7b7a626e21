import type { ConfigLeaf } from './leaf.ts';

/**
 * The value that the text of a variable or flag stands for; a text that stands for none is returned as it is,
 * so that the check by the schema, which comes after it, refuses it.
 */
export function parseText(leaf: ConfigLeaf, text: string): unknown {
  switch (leaf.kind) {
    case 'string':
    case 'choice':
      return text;
    case 'integer':
    case 'number':
      return /^-?\d+(?:\.\d+)?$/.test(text.trim()) ? Number(text) : text;
    case 'boolean':
      if (text === 'true' || text === '1') return true;
      return text === 'false' || text === '0' ? false : text;
    case 'list':
      return text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== '');
    case 'records':
    case 'json':
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    default:
      return leaf.kind satisfies never;
  }
}
