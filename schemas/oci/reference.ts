import { type Digest, isDigest } from './digest.ts';

/**
 * An image's name: `[host[:port]/]name[:tag][@digest]`, by the grammar of distribution/reference.
 * `host` is empty where the text names none; no default host or tag is put in.
 */
export interface Reference {
  readonly host: string;
  /** The repository's path below the host, lower case, for instance `library/redis`. */
  readonly name: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** A text that ought to be an image reference and is not. */
export class InvalidReferenceError extends Error {
  constructor(text: string, reason: string) {
    super(`not an image reference: ${JSON.stringify(text.slice(0, 300))}: ${reason}`);
    this.name = 'InvalidReferenceError';
  }
}

/** OCI distribution-spec, "Pulling manifests": the grammar of <name> and of a tag. */
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
export const MAX_NAME_LENGTH = 255;

export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && NAME.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** @throws {InvalidReferenceError} when `text` is not an image reference. */
export function parseReference(text: string): Reference {
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const tail = rest.slice(at + 1);
    if (!isDigest(tail)) throw new InvalidReferenceError(text, 'what follows the @ is not a digest');
    digest = tail;
    rest = rest.slice(0, at);
  }
  let host = '';
  const slash = rest.indexOf('/');
  const first = slash < 0 ? '' : rest.slice(0, slash);
  // As Docker has it: the first component is a host if it has a dot or a port or is "localhost".
  if (first !== '' && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())) {
    if (!/^(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/.test(first))
      throw new InvalidReferenceError(text, 'its host is malformed');
    host = first;
    rest = rest.slice(slash + 1);
  }
  let tag: string | undefined;
  const colon = rest.indexOf(':');
  if (colon >= 0) {
    tag = rest.slice(colon + 1);
    if (!isTag(tag))
      throw new InvalidReferenceError(
        text,
        'its tag is malformed (letters, digits, "_", ".", "-"; at most 128)',
      );
    rest = rest.slice(0, colon);
  }
  if (!isRepositoryName(rest))
    throw new InvalidReferenceError(
      text,
      'its name is malformed (lower-case letters, digits, separators ". _ -" and "/")',
    );
  return {
    host,
    name: rest,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The text of a reference; `parseReference` of it gives the same again. */
export function formatReference(reference: Reference): string {
  const host = reference.host === '' ? '' : `${reference.host}/`;
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${host}${reference.name}${tag}${digest}`;
}
