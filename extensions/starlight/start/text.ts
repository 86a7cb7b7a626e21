import { START_LIMIT } from './limits.ts';
import type { ReadableFile } from './elf.ts';

/** Of the line that begins a script Linux reads no more (binfmt_script.c). */
const SHEBANG_BYTES = 256;

/** What a script says of itself: `#!` interpreter and the words after it. */
export interface Shebang {
  readonly interpreter: string;
  readonly words: readonly string[];
}

/** The beginning of a file, as text. */
export async function readText(file: ReadableFile): Promise<string> {
  const bytes = await file.read(0, Math.min(file.sizeBytes, START_LIMIT.textBytes));
  return bytes === undefined ? '' : Buffer.from(bytes).toString();
}

/** Undefined for what is no script. */
export function shebangOf(text: string): Shebang | undefined {
  if (!text.startsWith('#!')) return undefined;
  const [line = ''] = text.slice(2, SHEBANG_BYTES).split('\n', 1);
  const [interpreter, ...words] = line.split(/[ \t\r]+/).filter((word) => word !== '');
  return interpreter === undefined ? undefined : { interpreter, words };
}

/** What shells have built in: a program of that name is there, and not run. */
const BUILT_IN: ReadonlySet<string> = new Set([
  '[',
  'echo',
  'false',
  'kill',
  'printf',
  'pwd',
  'test',
  'true',
]);

/** The words of a shell script that may be programs or files: each once. */
export interface ScriptWords {
  /** What it becomes: words behind an `exec`. */
  readonly exec: readonly string[];
  /** All others, in their order. */
  readonly others: readonly string[];
}

/**
 * Takes a shell script apart without understanding it: comments are left out, and whatever quotes, operators
 * and variables stand between is no word.
 */
export function scriptWords(text: string): ScriptWords {
  const exec = new Set<string>();
  const others = new Set<string>();
  for (const line of text.slice(0, START_LIMIT.textBytes).split('\n')) {
    if (line.trimStart().startsWith('#')) continue;
    let afterExec = false;
    for (const word of line.split(/[\s;|&()<>{}`"'$=,\\]+/)) {
      if (word === '' || BUILT_IN.has(word)) continue;
      if (exec.size + others.size >= START_LIMIT.scriptWords) return { exec: [...exec], others: [...others] };
      if (word === 'exec') afterExec = true;
      else (afterExec ? exec : others).add(word);
    }
  }
  return { exec: [...exec], others: [...others].filter((word) => !exec.has(word)) };
}
