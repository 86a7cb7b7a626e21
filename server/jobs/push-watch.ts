import type { PushedImage } from '../../extensions/starlight/events/pushed-image.ts';
import { isDigest } from '../../schemas/oci/digest.ts';
import { isIndexType, isManifestType } from '../../schemas/oci/media-types.ts';
import type { Registry, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { headerValue } from '../upstream/headers.ts';

/** A registry that tells of images that were pushed to it, once it has taken them. Nobody's answer waits for that. */
export class PushWatch implements Registry {
  readonly #registry: Registry;
  readonly #onPush: (pushed: readonly PushedImage[]) => void;

  constructor(registry: Registry, onPush: (pushed: readonly PushedImage[]) => void) {
    this.#registry = registry;
    this.#onPush = onPush;
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    const answer = await this.#registry.answer(request);
    if (request.method === 'PUT' && answer.status === 201) this.#tell(request, answer);
    return answer;
  }

  #tell({ endpoint, headers, query }: RegistryRequest, answer: RegistryAnswer): void {
    if (endpoint.kind !== 'manifest') return;
    const type = headers['content-type']?.split(';')[0]?.trim() ?? '';
    if (!isManifestType(type) && !isIndexType(type)) return;
    const { name, reference } = endpoint;
    const told = headerValue(answer.headers, 'docker-content-digest');
    const known = isDigest(reference) ? reference : told;
    const digest = isDigest(known) ? { digest: known } : {};
    // A push by digest may set tags as well (distribution-spec, 7b); then it is those that name the image.
    const tags = isDigest(reference) ? query.getAll('tag') : [];
    const references = tags.length > 0 ? tags : [reference];
    this.#onPush(references.map((one) => ({ name, reference: one, ...digest })));
  }
}
