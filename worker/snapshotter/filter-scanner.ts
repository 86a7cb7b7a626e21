/** A piece of a filter: `text` as written, `at` its offset. */
export type Token = {
  readonly kind: 'field' | 'value' | 'quoted' | 'separator' | 'operator' | 'end' | 'illegal';
  readonly text: string;
  readonly at: number;
};

const FIELD = /[A-Za-z0-9_]+/uy;
const OPERATOR = /[=!~]+/uy;
// what Go calls graphic, less the comma and white space
const VALUE = /[^\p{C}\p{Z},]+/uy;
const SPACE = /\s+/uy;
const QUOTED: Readonly<Record<string, RegExp>> = {
  '"': quotedBy('"'),
  '/': quotedBy('/'),
  '|': quotedBy('\\|'),
};

/** A literal between two `quote`, with Go's escapes (strconv.Unquote), on one line. */
function quotedBy(quote: string): RegExp {
  const escaped = `\\\\(?:[abfnrtv\\\\]|${quote}|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})`;
  return new RegExp(`${quote}(?:[^\\\\\\n${quote}]|${escaped})*${quote}`, 'uy');
}

/**
 * Splits a containerd filter (pkg/filters/scanner.go). After an operator everything up to a comma or white
 * space is one value; elsewhere dots and commas separate fields.
 */
export class FilterScanner {
  readonly #input: string;
  #at = 0;
  #inValue = false;

  constructor(input: string) {
    this.#input = input;
  }

  /** The next token, which the next call of `next` gives again. */
  peek(): Token {
    const at = this.#at;
    const inValue = this.#inValue;
    const token = this.next();
    this.#at = at;
    this.#inValue = inValue;
    return token;
  }

  next(): Token {
    this.#match(SPACE);
    const at = this.#at;
    const first = this.#input[at];
    if (first === undefined) return { kind: 'end', text: '', at };
    const quoted = QUOTED[first];
    if (quoted !== undefined) {
      this.#inValue = false;
      return this.#token('quoted', quoted, at);
    }
    if (first === ',' || first === '.') {
      this.#at += 1;
      this.#inValue = false;
      return { kind: 'separator', text: first, at };
    }
    if (first === '=' || first === '!' || first === '~') {
      this.#inValue = true;
      return this.#token('operator', OPERATOR, at);
    }
    if (this.#inValue) {
      this.#inValue = false;
      return this.#token('value', VALUE, at);
    }
    return this.#token('field', FIELD, at);
  }

  #token(kind: Token['kind'], pattern: RegExp, at: number): Token {
    const text = this.#match(pattern);
    return text === '' ? { kind: 'illegal', text: this.#input.slice(at, at + 1), at } : { kind, text, at };
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#input)?.[0] ?? '';
    this.#at += text.length;
    return text;
  }
}

const SIMPLE: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};
const ESCAPE = /\\(?:([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/gsu;
const UTF8 = new TextEncoder();

/**
 * The text that a quoted token stands for. `\x` and octal escapes are bytes of UTF-8, as in Go.
 *
 * @throws {RangeError} for a code point outside Unicode, @throws {TypeError} when the bytes are not UTF-8.
 */
export function unquote(token: string): string {
  const inner = token.slice(1, -1);
  const bytes: number[] = [];
  let end = 0;
  for (const match of inner.matchAll(ESCAPE)) {
    bytes.push(...UTF8.encode(inner.slice(end, match.index)));
    end = match.index + match[0].length;
    const [, octal, hex, short, long, letter] = match;
    if (octal !== undefined) bytes.push(Number.parseInt(octal, 8) & 0xff);
    else if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (letter !== undefined) bytes.push(...UTF8.encode(SIMPLE[letter] ?? letter));
    else bytes.push(...UTF8.encode(String.fromCodePoint(Number.parseInt(short ?? long ?? '', 16))));
  }
  bytes.push(...UTF8.encode(inner.slice(end)));
  return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes));
}
