import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { isDigest } from '../../../schemas/oci/digest.ts';
import { isTag } from '../../../schemas/oci/reference.ts';
import { harborPush } from './harbor-event.ts';
import { MAX_EVENTS, type PushedImage, type ReadEvents } from './pushed-image.ts';

export const CLOUD_EVENT = 'application/cloudevents+json';
export const CLOUD_EVENTS = 'application/cloudevents-batch+json';

/** CloudEvents 1.0, "Required Attributes", and the data as it is found. */
const checkEvent = TypeCompiler.Compile(
  Type.Object({
    specversion: Type.Literal('1.0'),
    id: Type.String({ minLength: 1, maxLength: 1_024 }),
    source: Type.String({ minLength: 1, maxLength: 1_024 }),
    type: Type.String({ minLength: 1, maxLength: 256 }),
    data: Type.Optional(Type.Unknown()),
    data_base64: Type.Optional(Type.String()),
  }),
);

/** zot, pkg/extensions/events/events.go: the manifest itself is there too, and is not looked at. */
const checkZot = TypeCompiler.Compile(
  Type.Object({
    name: Type.String({ maxLength: 512 }),
    reference: Type.String({ maxLength: 256 }),
    digest: Type.Optional(Type.String({ maxLength: 256 })),
  }),
);

/** By the event's type what its data says was pushed; undefined for data that is not of the type's shape. */
const PUSHES: readonly {
  readonly type: RegExp;
  readonly read: (data: unknown) => readonly PushedImage[] | undefined;
}[] = [
  { type: /^harbor\.artifact\.pushed$/, read: harborPush },
  // zot lets its operator choose another word than zotregistry.
  { type: /^[A-Za-z0-9.-]+\.image\.updated$/, read: zotPush },
];

/** An event in structured mode, or a batch of them. undefined for what is none. */
export function cloudEvents(value: unknown): ReadEvents | undefined {
  const events: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (events.length > MAX_EVENTS) return undefined;
  const pushed: PushedImage[] = [];
  let ignored = 0;
  for (const event of events) {
    if (!checkEvent.Check(event)) return undefined;
    const { type, data, data_base64: encoded } = event;
    const known = PUSHES.find((one) => one.type.test(type));
    if (known === undefined) {
      ignored += 1;
      continue;
    }
    const images = known.read(encoded === undefined ? data : jsonOf(encoded));
    if (images === undefined) return undefined;
    pushed.push(...images);
  }
  return { pushed, ignored };
}

/** The attributes of binary mode, where they are headers (HTTP binding, 3.1); undefined where it is not that mode. */
export function binaryAttributes(
  header: (name: string) => string | undefined,
): Readonly<Record<string, string | undefined>> | undefined {
  if (header('ce-specversion') === undefined) return undefined;
  const names = ['specversion', 'id', 'source', 'type'];
  return Object.fromEntries(names.map((name) => [name, header(`ce-${name}`)]));
}

function zotPush(data: unknown): readonly PushedImage[] | undefined {
  if (!checkZot.Check(data)) return undefined;
  const { name, reference, digest } = data;
  if (!isTag(reference) && !isDigest(reference)) return undefined;
  return [{ name, reference, ...(isDigest(digest) ? { digest } : {}) }];
}

function jsonOf(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, 'base64').toString());
  } catch {
    return undefined;
  }
}
