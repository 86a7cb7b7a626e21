import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { readWhole } from '../../schemas/body/read-body.ts';
import { compareTags, tagsPage } from '../registry/answer-page.ts';
import type { EndpointOf, Registry, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';

/** A list of tags is read whole up to this: some hundred thousand. */
const MAX_LIST_BYTES = 16 << 20;
/** Of the answer that ours takes the place of. */
const REPLACED: ReadonlySet<string> = new Set(['content-type', 'content-length', 'link', 'etag']);

const TagList = TypeCompiler.Compile(
  Type.Object({ tags: Type.Union([Type.Array(Type.String()), Type.Null()]) }),
);

/**
 * Cuts lists of tags into pages where a registry passes over `n` and `last` (distribution 2.8 does). A registry
 * that heeds them is left alone, and so is every other request.
 */
export class TagsPaging implements Registry {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    const { endpoint, method, query } = request;
    const answer = await this.#registry.answer(request);
    const paged = endpoint.kind === 'tags' && (query.has('n') || query.has('last'));
    if (!paged || method !== 'GET' || answer.status !== 200) return answer;
    return this.#page({ ...request, endpoint }, answer);
  }

  async #page(request: RegistryRequest<EndpointOf<'tags'>>, answer: RegistryAnswer): Promise<RegistryAnswer> {
    const body = await wholeBody(answer, request.signal);
    const tags = tagsIn(body);
    if (tags === undefined || heeds(request.query, tags)) return { ...answer, body };
    const page = tagsPage(request, tags);
    const kept = answer.headers.filter(([name]) => !REPLACED.has(name.toLowerCase()));
    return { ...page, headers: [...kept, ...page.headers] };
  }
}

/**
 * Whether a list can be the page that was asked for. Registries differ in whether capitals come first: what comes
 * before `last` in one order alone may well belong to the page.
 */
function heeds(query: URLSearchParams, tags: readonly string[]): boolean {
  const last = query.get('last');
  if (last !== null) return !tags.some((tag) => tag <= last && compareTags(tag, last) <= 0);
  return tags.length <= Number(query.get('n'));
}

function tagsIn(bytes: Uint8Array): string[] | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    return TagList.Check(value) ? (value.tags ?? []) : undefined;
  } catch {
    return undefined; // whatever it is, the client gets it
  }
}

async function wholeBody({ body }: RegistryAnswer, signal: AbortSignal): Promise<Uint8Array> {
  if (body === undefined || body instanceof Uint8Array) return body ?? new Uint8Array();
  const reason = `a list of tags of more than ${MAX_LIST_BYTES} bytes`;
  const tooLarge = () => new RegistryError({ kind: 'upstream-protocol', reason });
  try {
    return await readWhole(body, MAX_LIST_BYTES, tooLarge);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RegistryError) throw error;
    throw new RegistryError({ kind: 'upstream-unreachable' }, { cause: error });
  }
}
