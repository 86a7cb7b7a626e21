import { FilterScanner, type Token, unquote } from './filter-scanner.ts';
import type { SnapshotInfo } from './snapshot.ts';
import { SnapshotterError } from './snapshotter-error.ts';

/** Decides whether List shows a snapshot. */
export type Filter = (info: SnapshotInfo) => boolean;

/** Most filters of one request, and the longest of them in characters. */
export const FILTERS_MAX = 64;
export const FILTER_MAX_LENGTH = 16 * 1024;

type Selector = {
  readonly path: readonly string[];
  readonly operator: 'present' | '==' | '!=' | '~=';
  readonly value: string;
};

/**
 * The filters of a List request in containerd's syntax (pkg/filters/parser.go):
 *
 *     selector ("," selector)*        all must match
 *     selector := field ("." field)* [("==" | "!=" | "~=") value]
 *
 * Fields are `kind`, `name`, `parent` and `labels.<name>`; a name with other characters than letters, digits
 * and `_` is quoted. No operator asks for presence, `~=` for a regular expression. A snapshot passes when any
 * filter matches; without filters all pass. A regular expression that does not compile matches nothing, as in
 * containerd.
 *
 * @throws {SnapshotterError} invalid-argument when a filter cannot be parsed or a limit is passed.
 */
export function parseFilters(texts: readonly string[]): Filter {
  if (texts.length > FILTERS_MAX) throw invalid('', 0, `more than ${FILTERS_MAX} filters`);
  if (texts.length === 0) return () => true;
  const filters = texts.map(parseFilter);
  return (info) => filters.some((filter) => filter(info));
}

function parseFilter(text: string): Filter {
  if (text === '') return () => true;
  if (text.length > FILTER_MAX_LENGTH) throw invalid('', 0, `longer than ${FILTER_MAX_LENGTH} characters`);
  const scanner = new FilterScanner(text);
  const tests: Filter[] = [];
  for (;;) {
    tests.push(testOf(parseSelector(text, scanner)));
    const token = scanner.next();
    if (token.kind === 'end') return (info) => tests.every((test) => test(info));
    if (token.text !== ',') throw invalid(text, token.at, 'expected a comma');
  }
}

function parseSelector(text: string, scanner: FilterScanner): Selector {
  const path = [field(text, scanner.next())];
  while (scanner.peek().text === '.') {
    scanner.next();
    path.push(field(text, scanner.next()));
  }
  const ahead = scanner.peek();
  if (ahead.kind === 'end' || ahead.kind === 'separator') return { path, operator: 'present', value: '' };
  const token = scanner.next();
  const operator = token.text;
  if (operator !== '==' && operator !== '!=' && operator !== '~=') {
    throw invalid(text, token.at, 'expected an operator ("==", "!=" or "~=")');
  }
  return { path, operator, value: value(text, scanner.next(), operator === '~=') };
}

function field(text: string, token: Token): string {
  if (token.kind === 'field') return token.text;
  return quoted(text, token, false, 'expected a field');
}

function value(text: string, token: Token, isPattern: boolean): string {
  if (token.kind === 'value' || token.kind === 'field') return token.text;
  return quoted(text, token, isPattern, 'expected a value');
}

/** `/…/` and `|…|` quote patterns only. */
function quoted(text: string, token: Token, isPattern: boolean, expected: string): string {
  if (token.kind !== 'quoted') throw invalid(text, token.at, expected);
  if (!isPattern && !token.text.startsWith('"')) throw invalid(text, token.at, 'wrong kind of quote');
  try {
    return unquote(token.text);
  } catch (cause) {
    throw invalid(text, token.at, 'bad escape', { cause });
  }
}

function testOf(selector: Selector): Filter {
  const { path, operator, value: wanted } = selector;
  switch (operator) {
    case 'present':
      return (info) => fieldOf(info, path) !== undefined;
    case '==':
      return (info) => fieldOf(info, path) === wanted;
    case '!=':
      return (info) => (fieldOf(info, path) ?? '') !== wanted;
    case '~=': {
      const pattern = compile(wanted);
      return (info) => pattern?.test(fieldOf(info, path) ?? '') ?? false;
    }
    default:
      throw new Error(`unknown operator ${operator satisfies never}`);
  }
}

function compile(pattern: string): RegExp | undefined {
  try {
    return new RegExp(pattern, 'u');
  } catch {
    return undefined;
  }
}

function fieldOf(info: SnapshotInfo, path: readonly string[]): string | undefined {
  switch (path[0]) {
    case 'kind':
      return info.kind;
    case 'name':
      return info.key;
    case 'parent':
      return info.parent ?? '';
    case 'labels': {
      const name = path.slice(1).join('.');
      return Object.hasOwn(info.labels, name) ? info.labels[name] : undefined;
    }
    default:
      return undefined;
  }
}

function invalid(text: string, at: number, problem: string, options?: ErrorOptions): SnapshotterError {
  const where = text === '' ? '' : ` at ${at} of ${JSON.stringify(text.slice(0, 256))}`;
  return new SnapshotterError('invalid-argument', `filter: ${problem}${where}`, options);
}
