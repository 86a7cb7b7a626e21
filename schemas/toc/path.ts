import { TocError } from './error.ts';
import { TOC_LIMIT } from './limits.ts';

const SLASH = 0x2f;
const DOT = 0x2e;

/**
 * Checks the components of `bytes[start, end)`, a path relative to the root as the table holds it: none is
 * empty, `.` or `..`, none is longer than a name may be, none holds a NUL. So no path of a table leads out of
 * the tree, and there is one way only to write each. The empty path (the root) passes.
 *
 * @param from where to begin: the start of a component at or after `start`, what lies before being checked.
 * @throws {TocError}
 */
export function checkPath(bytes: Uint8Array, start: number, end: number, from = start): void {
  if (end - start > TOC_LIMIT.pathBytes) throw new TocError('limit', `a path of ${end - start} bytes`);
  if (start === end) return;
  let component = from;
  for (let at = from; at <= end; at += 1) {
    const byte = at === end ? SLASH : bytes[at];
    if (byte === SLASH) {
      checkComponent(bytes, component, at);
      component = at + 1;
    } else if (byte === 0) {
      throw new TocError('malformed', 'a path with a NUL');
    }
  }
}

function checkComponent(bytes: Uint8Array, start: number, end: number): void {
  const length = end - start;
  if (length > TOC_LIMIT.nameBytes) throw new TocError('limit', `a name of ${length} bytes`);
  if (length <= 0) throw new TocError('malformed', 'a path with an empty component');
  if (length <= 2 && bytes[start] === DOT && (length === 1 || bytes[start + 1] === DOT)) {
    throw new TocError('malformed', 'a path with a component "." or ".."');
  }
}

/** The components of a path, as views; empty ones are left out. */
export function splitPath(path: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let at = 0; at <= path.length; at += 1) {
    if (at < path.length && path[at] !== SLASH) continue;
    if (at > start) parts.push(path.subarray(start, at));
    start = at + 1;
  }
  return parts;
}
