import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { isDigest } from '../../../schemas/oci/digest.ts';
import { isTag } from '../../../schemas/oci/reference.ts';
import { MAX_EVENTS, type PushedImage, type ReadEvents } from './pushed-image.ts';

/**
 * Harbor's webhooks, payload format Default (goharbor/harbor, src/pkg/notifier/model/event.go). What is not named
 * here is passed over.
 */
const EventDataSchema = Type.Object({
  resources: Type.Array(
    Type.Object({
      digest: Type.Optional(Type.String({ maxLength: 256 })),
      tag: Type.Optional(Type.String({ maxLength: 256 })),
    }),
    { maxItems: MAX_EVENTS },
  ),
  repository: Type.Object({ repo_full_name: Type.String({ maxLength: 512 }) }),
});
const checkData = TypeCompiler.Compile(EventDataSchema);
const checkEvent = TypeCompiler.Compile(
  Type.Object({
    type: Type.String({ pattern: '^[A-Z_]{1,64}$' }),
    occur_at: Type.Number(),
    event_data: Type.Unknown(),
  }),
);

/** undefined for what is no such event. Others than PUSH_ARTIFACT are known and ignored, DELETE_ARTIFACT among them. */
export function harborEvent(value: unknown): ReadEvents | undefined {
  if (!checkEvent.Check(value)) return undefined;
  if (value.type !== 'PUSH_ARTIFACT') return { pushed: [], ignored: 1 };
  const pushed = harborPush(value.event_data);
  return pushed === undefined ? undefined : { pushed, ignored: 0 };
}

/** The data of an event that says that something was pushed. */
export function harborPush(data: unknown): readonly PushedImage[] | undefined {
  if (!checkData.Check(data)) return undefined;
  const { resources, repository } = data;
  return resources.flatMap(({ digest, tag }) => {
    const known = isDigest(digest) ? { digest } : {};
    // Without a tag Harbor writes the digest there.
    const reference = tag !== undefined && isTag(tag) ? tag : isDigest(digest) ? digest : undefined;
    return reference === undefined ? [] : [{ name: repository.repo_full_name, reference, ...known }];
  });
}
