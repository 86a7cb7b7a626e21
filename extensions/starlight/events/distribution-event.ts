import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { isDigest } from '../../../schemas/oci/digest.ts';
import { isIndexType, isManifestType } from '../../../schemas/oci/media-types.ts';
import { isTag } from '../../../schemas/oci/reference.ts';
import { MAX_EVENTS, type PushedImage, type ReadEvents } from './pushed-image.ts';

export const DISTRIBUTION_EVENTS = 'application/vnd.docker.distribution.events.v2+json';

/** What the proxy's own pushes call themselves; the registry repeats it in its events. */
export const OWN_USER_AGENT = 'starlight-proxy-conversion';

const Text = Type.Optional(Type.String({ maxLength: 1_024 }));
const checkEnvelope = TypeCompiler.Compile(
  Type.Object({
    events: Type.Array(
      Type.Object({
        action: Type.String({ maxLength: 64 }),
        target: Type.Object({ mediaType: Text, digest: Text, repository: Text, tag: Text }),
        request: Type.Optional(Type.Object({ useragent: Text })),
      }),
      { maxItems: MAX_EVENTS },
    ),
  }),
);

/**
 * The envelopes of the distribution project's notifications (docs, "Work with notifications"), several events in
 * each. Pushes of manifests count; pulls, mounts, deletions and blobs do not, nor does what we pushed ourselves. A
 * registry sends an envelope that was refused again for ever, so what is odd within one is passed over.
 */
export function distributionEvents(value: unknown): ReadEvents | undefined {
  if (!checkEnvelope.Check(value)) return undefined;
  const pushed = value.events.flatMap(({ action, target, request }): readonly PushedImage[] => {
    const { mediaType = '', digest, repository, tag } = target;
    const isImage = isManifestType(mediaType) || isIndexType(mediaType);
    if (action !== 'push' || repository === undefined || !isImage) return [];
    if (request?.useragent?.startsWith(OWN_USER_AGENT) === true) return [];
    const known = isDigest(digest) ? { digest } : {};
    const reference = tag !== undefined && isTag(tag) ? tag : isDigest(digest) ? digest : undefined;
    return reference === undefined ? [] : [{ name: repository, reference, ...known }];
  });
  return { pushed, ignored: value.events.length - pushed.length };
}
