/** A segment may hold one `*`: matching then needs no search. */
const SEGMENT = /^(?:[a-z0-9._-]+|[a-z0-9._-]*\*[a-z0-9._-]*)$/;

/** Texts that are patterns of repositories' names, as a pattern of JSON Schema. */
export const REPOSITORY_PATTERN =
  '^(?:(?:[a-z0-9._-]+|[a-z0-9._-]*\\*[a-z0-9._-]*)(?:/(?:[a-z0-9._-]+|[a-z0-9._-]*\\*[a-z0-9._-]*))*(?:/\\*\\*)?|\\*\\*)$';

/**
 * Whether a repository's name fits a pattern: `*` stands for any part of one segment, `**` at the end for one segment
 * or more. So `team/**` is everything below `team`, not `team` itself; what is no pattern fits nothing.
 */
export function repositoryMatches(pattern: string, name: string): boolean {
  const segments = pattern.split('/');
  const open = segments.at(-1) === '**';
  const wanted = open ? segments.slice(0, -1) : segments;
  const parts = name.split('/');
  if (open ? parts.length <= wanted.length : parts.length !== wanted.length) return false;
  return wanted.every((segment, place) => segmentMatches(segment, parts[place] ?? ''));
}

function segmentMatches(segment: string, part: string): boolean {
  if (!SEGMENT.test(segment)) return false;
  const star = segment.indexOf('*');
  if (star < 0) return segment === part;
  const [before, after] = [segment.slice(0, star), segment.slice(star + 1)];
  return part.length >= before.length + after.length && part.startsWith(before) && part.endsWith(after);
}
