import { type JobRegistry, MAX_NAMES } from '../../extensions/starlight/jobs/job-registry.ts';
import { ReaderSource } from '../../extensions/starlight/jobs/reader-source.ts';
import type { RegistryReader } from '../../extensions/starlight/registry-reader.ts';
import type { ImageSink, ImageSource } from '../../schemas/image/image-endpoint.ts';
import { ImageError } from '../../schemas/image/image-error.ts';
import { IMAGE_LIMIT } from '../../schemas/image/limits.ts';
import { isTag } from '../../schemas/oci/reference.ts';
import type { RegistryAnswer } from '../registry/registry.ts';
import { type RepositoryName, repositoryName } from '../registry/repository-name.ts';
import { nextLink } from '../upstream/headers.ts';
import { namesIn } from './names.ts';
import { type OwnRegistry, wholeBody } from './own-registry.ts';
import { OwnSink } from './own-sink.ts';

/** Names of one page. */
const PAGE = 1_000;

/** A fronted registry as jobs see it, over its seams: what the proxy's clients use, on the proxy's own account. */
export class FrontedJobRegistry implements JobRegistry {
  readonly reader: RegistryReader;
  readonly repositories: JobRegistry['repositories'];
  readonly #registry: OwnRegistry;

  /** `reader` reads with the proxy's own rights. */
  constructor(reader: RegistryReader, registry: OwnRegistry, repositories: JobRegistry['repositories']) {
    this.reader = reader;
    this.#registry = registry;
    this.repositories = repositories;
  }

  source(name: string, reference: string): ImageSource {
    return new ReaderSource(this.reader, name, reference);
  }

  sink(name: string, tag: string): ImageSink {
    return new OwnSink(this.#registry, nameOf(name), tag);
  }

  async tags(name: string, signal: AbortSignal): Promise<readonly string[]> {
    const endpoint = { kind: 'tags', name: nameOf(name) } as const;
    const found: string[] = [];
    let query = new URLSearchParams({ n: String(PAGE) });
    while (found.length < MAX_NAMES) {
      let answer: RegistryAnswer;
      try {
        answer = await this.#registry.send({ endpoint, method: 'GET', query }, [200], signal);
      } catch (error) {
        if (error instanceof ImageError && error.kind === 'not-found') break;
        throw error;
      }
      const page = namesIn(await wholeBody(answer, IMAGE_LIMIT.manifestBytes, 'a list of tags'), 'tags');
      found.push(...page.filter(isTag));
      const next = nextLink(answer.headers);
      if (next === undefined || page.length === 0) break;
      query = new URLSearchParams(URL.parse(next, 'http://proxy.invalid')?.search);
    }
    return found.slice(0, MAX_NAMES);
  }
}

function nameOf(name: string): RepositoryName {
  const found = repositoryName(name);
  if (found === undefined)
    throw new ImageError({ kind: 'invalid-name', name }, `${name} is no repository's name`);
  return found;
}
