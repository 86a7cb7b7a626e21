import { InvalidReferenceError, isTag, parseReference, type Reference } from '../oci/reference.ts';
import { ImageError } from './image-error.ts';

/** Where an image is: in a registry, or in an image layout directory, perhaps under a tag. */
export type ImageName =
  | { readonly kind: 'registry'; readonly reference: Reference }
  | { readonly kind: 'layout'; readonly directory: string; readonly tag: string | undefined };

const LAYOUT = 'oci:';
const DOCKER = 'docker://';

/**
 * `oci:DIR[:TAG]` as skopeo has it, or a reference, with or without `docker://` before it. A reference
 * without tag and digest means `latest`.
 *
 * @throws {ImageError} `invalid-name`
 */
export function parseImageName(text: string): ImageName {
  if (text.startsWith(LAYOUT)) {
    const rest = text.slice(LAYOUT.length);
    const colon = rest.lastIndexOf(':');
    const tag = colon > rest.lastIndexOf('/') ? rest.slice(colon + 1) : undefined;
    const directory = tag === undefined ? rest : rest.slice(0, colon);
    if (directory === '' || (tag !== undefined && !isTag(tag))) {
      throw new ImageError({ kind: 'invalid-name', name: text }, `${text}: expected oci:DIRECTORY[:TAG]`);
    }
    return { kind: 'layout', directory, tag };
  }
  try {
    const reference = parseReference(text.startsWith(DOCKER) ? text.slice(DOCKER.length) : text);
    if (reference.host === '') {
      const message = `${text}: name the registry too, as in registry.example/${reference.name}`;
      throw new ImageError({ kind: 'invalid-name', name: text }, message);
    }
    const named = reference.tag === undefined && reference.digest === undefined;
    return { kind: 'registry', reference: named ? { ...reference, tag: 'latest' } : reference };
  } catch (cause) {
    if (!(cause instanceof InvalidReferenceError)) throw cause;
    throw new ImageError({ kind: 'invalid-name', name: text }, cause.message, { cause });
  }
}
