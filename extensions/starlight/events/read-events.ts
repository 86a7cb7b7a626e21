import { StarlightError } from '../starlight-error.ts';
import { binaryAttributes, CLOUD_EVENT, CLOUD_EVENTS, cloudEvents } from './cloud-event.ts';
import { DISTRIBUTION_EVENTS, distributionEvents } from './distribution-event.ts';
import { harborEvent } from './harbor-event.ts';
import type { ReadEvents } from './pushed-image.ts';

const ACCEPTED =
  'Harbor webhooks (Default, or CloudEvents harbor.artifact.pushed), notifications of the distribution registry ' +
  `(${DISTRIBUTION_EVENTS}), and zot's CloudEvents (zotregistry.image.updated), structured or binary`;

/**
 * What a webhook's body says was pushed. Its format is told from its headers (CloudEvents, binary or not) and else
 * from its shape, since Harbor sends application/json.
 * @param header by its name in lower case.
 * @throws {StarlightError} `invalid-request` for what is of none of the formats.
 */
export function readEvents(value: unknown, header: (name: string) => string | undefined): ReadEvents {
  const attributes = binaryAttributes(header);
  const found =
    attributes === undefined ? byShape(value, header) : cloudEvents({ ...attributes, data: value });
  if (found !== undefined) return found;
  throw new StarlightError({
    kind: 'invalid-request',
    reason: `this is none of the events that are understood: ${ACCEPTED}`,
  });
}

function byShape(value: unknown, header: (name: string) => string | undefined): ReadEvents | undefined {
  const type = header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type === CLOUD_EVENT || type === CLOUD_EVENTS) return cloudEvents(value);
  if (type === DISTRIBUTION_EVENTS) return distributionEvents(value);
  return distributionEvents(value) ?? harborEvent(value) ?? cloudEvents(value);
}
