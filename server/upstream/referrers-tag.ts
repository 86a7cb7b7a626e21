import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import { fallbackTag } from '../../schemas/image/referrers-index.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { type Descriptor, DocumentError, type Index, parseIndex } from '../../schemas/oci/types.ts';
import { readWhole } from '../../schemas/body/read-body.ts';
import { MAX_MANIFEST_BYTES } from '../registry/manifest-body.ts';
import type { HeaderList, Registry, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import type { RepositoryName } from '../registry/repository-name.ts';
import { requestFor } from '../registry/request-for.ts';

/** How often a list is written before another writer is left the winner. */
const MAX_WRITES = 4;
/** How many entries are looked after when a registry refuses a list. */
const MAX_ENTRIES_CHECKED = 1000;

/** The list of what refers to a manifest: whose it is, and in which repository. */
export interface ReferrersKey {
  readonly name: RepositoryName;
  readonly subject: Digest;
}

export type ReferrersRead =
  | { readonly kind: 'list'; readonly index: Index; readonly digest: Digest | undefined }
  /** The registry does not let this caller read it, or is not well: what it answered. */
  | { readonly kind: 'refused'; readonly answer: RegistryAnswer };

const EMPTY: Index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [] };

/**
 * The lists of referrers that clients keep under a tag where a registry lacks the API (distribution-spec,
 * "Referrers Tag Schema"): an image index at `<algorithm>-<hex>`, read and written on behalf of a caller.
 *
 * The registry offers no conditional writes. Writers of one list take turns within this process; against others
 * a write is read back, and made again where it was lost.
 */
export class ReferrersTag {
  readonly #registry: Registry;
  readonly #lock = new KeyLock();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Without the tag the list is empty. @throws {RegistryError} 'upstream-protocol' where the tag is no index. */
  async read(origin: RegistryRequest, { name, subject }: ReferrersKey): Promise<ReferrersRead> {
    const answer = await this.#registry.answer(
      requestFor(origin, {
        endpoint: { kind: 'manifest', name, reference: fallbackTag(subject) },
        method: 'GET',
        headers: [['Accept', MEDIA_TYPE.ociIndex]],
      }),
    );
    if (answer.status === 404) {
      letGo(answer);
      return { kind: 'list', index: EMPTY, digest: undefined };
    }
    if (answer.status !== 200) return { kind: 'refused', answer };
    const bytes = await bodyOf(answer);
    try {
      return { kind: 'list', index: parseIndex(bytes), digest: digestOf(bytes) };
    } catch (error) {
      if (!(error instanceof DocumentError)) throw error;
      throw new RegistryError({ kind: 'upstream-protocol', reason: 'its list of referrers is none' });
    }
  }

  /**
   * Changes a list; `change` returns the very array that it was given where there is nothing to do.
   *
   * @returns whether the list is known to be as `change` wants it.
   * @throws {RegistryError} where the registry does not answer.
   */
  async update(
    origin: RegistryRequest,
    key: ReferrersKey,
    change: (entries: readonly Descriptor[]) => readonly Descriptor[],
  ): Promise<boolean> {
    return await this.#lock.run([`${key.name}\n${key.subject}`], async () => {
      for (let writes = 0; ; writes += 1) {
        const before = await this.read(origin, key);
        if (before.kind === 'refused') {
          letGo(before.answer);
          return false;
        }
        const after = change(before.index.manifests);
        if (after === before.index.manifests) return true;
        if (writes === MAX_WRITES) return false;
        const index = { ...before.index, manifests: [...after] };
        const emptied = after.length === 0 && before.digest !== undefined;
        // The tag goes with its list: many registries delete by digest alone.
        if (emptied && (await this.#delete(origin, key, before.digest))) continue;
        if (await this.#write(origin, key, index)) continue;
        if (!(await this.#write(origin, key, await this.#withoutMissing(origin, key, index)))) return false;
      }
    });
  }

  async #write(origin: RegistryRequest, { name, subject }: ReferrersKey, index: Index): Promise<boolean> {
    const body = Buffer.from(JSON.stringify({ ...index, mediaType: MEDIA_TYPE.ociIndex }));
    if (body.byteLength > MAX_MANIFEST_BYTES) return false;
    const headers: HeaderList = [['Content-Type', MEDIA_TYPE.ociIndex]];
    const endpoint = { kind: 'manifest', name, reference: fallbackTag(subject) } as const;
    return isSuccess(await this.#done(requestFor(origin, { endpoint, method: 'PUT', headers, body })));
  }

  async #delete(origin: RegistryRequest, { name }: ReferrersKey, reference: Digest): Promise<boolean> {
    const endpoint = { kind: 'manifest', name, reference } as const;
    return isSuccess(await this.#done(requestFor(origin, { endpoint, method: 'DELETE' })));
  }

  /** A registry may refuse an index that names what it no longer holds (distribution 2.8 does). */
  async #withoutMissing(origin: RegistryRequest, { name }: ReferrersKey, index: Index): Promise<Index> {
    const manifests: Descriptor[] = [];
    for (const [row, entry] of index.manifests.entries()) {
      const endpoint = { kind: 'manifest', name, reference: entry.digest } as const;
      const headers: HeaderList = [['Accept', entry.mediaType]];
      const looked = row < MAX_ENTRIES_CHECKED;
      const status = looked && (await this.#done(requestFor(origin, { endpoint, method: 'HEAD', headers })));
      if (status !== 404) manifests.push(entry);
    }
    return { ...index, manifests };
  }

  async #done(request: RegistryRequest): Promise<number> {
    const answer = await this.#registry.answer(request);
    letGo(answer);
    return answer.status;
  }
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/**
 * An answer's body, where it is no longer than a manifest may be.
 *
 * @throws {RegistryError} 'upstream-protocol', or 'upstream-unreachable' where it breaks off.
 */
export async function bodyOf({ body }: RegistryAnswer): Promise<Uint8Array> {
  if (body === undefined || body instanceof Uint8Array) return body ?? new Uint8Array();
  const reason = `a manifest of more than ${MAX_MANIFEST_BYTES} bytes`;
  const tooLarge = () => new RegistryError({ kind: 'upstream-protocol', reason });
  try {
    return await readWhole(body, MAX_MANIFEST_BYTES, tooLarge);
  } catch (error) {
    if (error instanceof RegistryError) throw error;
    throw new RegistryError({ kind: 'upstream-unreachable' }, { cause: error });
  }
}

/** For an answer whose body nobody wants. */
export function letGo({ body }: RegistryAnswer): void {
  if (body !== undefined && !(body instanceof Uint8Array)) body.destroy();
}
