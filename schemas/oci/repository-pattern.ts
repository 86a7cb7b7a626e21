/** A segment may hold one `*`: matching then needs no search. */
const SEGMENT = /^(?:[a-z0-9._-]+|[a-z0-9._-]*\*[a-z0-9._-]*)$/;

/** Texts that are patterns of repositories' names, as a pattern of JSON Schema. */
export const REPOSITORY_PATTERN =
  '^(?:(?:[a-z0-9._-]+|[a-z0-9._-]*\\*[a-z0-9._-]*)(?:/(?:[a-z0-9._-]+|[a-z0-9._-]*\\*[a-z0-9._-]*))*(?:/\\*\\*)?|\\*\\*)$';

/** Why a text is no pattern of repositories, in words; undefined where it is one. */
export function patternFault(text: string): string | undefined {
  const segments = text.split('/');
  for (const [place, segment] of segments.entries()) {
    if (segment === '**') {
      if (place !== segments.length - 1) return '"**" may only stand at the end';
    } else if (!SEGMENT.test(segment)) {
      return `expected names with at most one "*" in each, as in "team/*-test/**", got ${JSON.stringify(text)}`;
    }
  }
  return undefined;
}

/**
 * A pattern of repositories' names: `*` stands for any part of one segment, `**` at the end for one segment or
 * more. So `team/**` is everything below `team`, not `team` itself.
 */
export class RepositoryPattern {
  readonly text: string;
  readonly #segments: readonly string[];
  readonly #open: boolean;

  /** @throws {RangeError} where `text` is no pattern. */
  constructor(text: string) {
    const fault = patternFault(text);
    if (fault !== undefined) throw new RangeError(fault);
    const segments = text.split('/');
    this.text = text;
    this.#open = segments.at(-1) === '**';
    this.#segments = this.#open ? segments.slice(0, -1) : segments;
  }

  matches(name: string): boolean {
    const parts = name.split('/');
    const wanted = this.#segments;
    if (this.#open ? parts.length <= wanted.length : parts.length !== wanted.length) return false;
    return wanted.every((segment, place) => segmentMatches(segment, parts[place] ?? ''));
  }
}

/** Whether a repository's name fits a pattern; what is no pattern fits nothing. */
export function repositoryMatches(pattern: string, name: string): boolean {
  return patternFault(pattern) === undefined && new RepositoryPattern(pattern).matches(name);
}

function segmentMatches(segment: string, part: string): boolean {
  const star = segment.indexOf('*');
  if (star < 0) return segment === part;
  const [before, after] = [segment.slice(0, star), segment.slice(star + 1)];
  return part.length >= before.length + after.length && part.startsWith(before) && part.endsWith(after);
}
