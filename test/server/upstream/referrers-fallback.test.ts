import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { type Descriptor, parseIndex } from '../../../schemas/oci/types.ts';
import { EmbeddedRegistry } from '../../../server/registry/embedded/embedded-registry.ts';
import { MAX_MANIFEST_BYTES } from '../../../server/registry/manifest-body.ts';
import type { Registry, RegistryAnswer, RegistryRequest } from '../../../server/registry/registry.ts';
import { RegistryError } from '../../../server/registry/registry-error.ts';
import { type RepositoryName, repositoryName } from '../../../server/registry/repository-name.ts';
import { ReferrersFallback } from '../../../server/upstream/referrers-fallback.ts';
import { LocalApp } from '../../support/local-app.ts';

const CONFIG = Buffer.from('{"architecture":"amd64","os":"linux"}');
const SUBJECT = digestOf('some image');
const TAG = SUBJECT.replace(':', '-');
const SBOM = 'application/vnd.example.sbom';
const NAME = repositoryName('a/b') as RepositoryName; // it is one

interface Traits {
  /** Answers the referrers API by itself. */
  readonly api?: boolean;
  /** Refuses an index that names what it does not hold, as distribution 2.8 does. */
  readonly strict?: boolean;
  /** Asked before all else. */
  readonly script?: (request: RegistryRequest) => RegistryAnswer | undefined;
}

/** A registry as an upstream is: it answers errors instead of throwing them, and may lack the referrers API. */
class OldRegistry implements Registry {
  readonly #inner: EmbeddedRegistry;
  readonly #traits: Traits;
  readonly asked: RegistryRequest[] = [];

  constructor(dir: string, traits: Traits) {
    this.#inner = new EmbeddedRegistry(dir, Date.now);
    this.#traits = traits;
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    this.asked.push(request);
    const scripted = this.#traits.script?.(request);
    if (scripted !== undefined) return scripted;
    if (this.#traits.api !== true && request.endpoint.kind === 'referrers') return status(404);
    try {
      const answer = await this.#inner.answer(await this.#checked(request));
      const headers = answer.headers.filter(([name]) => this.#traits.api === true || name !== 'OCI-Subject');
      return { ...answer, headers };
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return status(error.fault.kind.endsWith('unknown') ? 404 : 400);
    }
  }

  async #checked(request: RegistryRequest): Promise<RegistryRequest> {
    const isIndex = request.method === 'PUT' && request.headers['content-type'] === MEDIA_TYPE.ociIndex;
    if (this.#traits.strict !== true || !isIndex) return request;
    const bytes = Buffer.concat(await Array.fromAsync(request.body));
    for (const { digest } of parseIndex(bytes).manifests) {
      if ((await this.#inner.manifests.find(this.#inner.files(NAME), digest)) === undefined) {
        throw new RegistryError({ kind: 'manifest-blob-unknown', digest });
      }
    }
    return { ...request, body: Readable.from([bytes], { objectMode: false }) };
  }
}

function status(code: number, headers: RegistryAnswer['headers'] = []): RegistryAnswer {
  return { status: code, headers: [...headers, ['Content-Length', '0']], body: new Uint8Array() };
}

class Front implements AsyncDisposable {
  readonly upstream: OldRegistry;
  readonly #app: LocalApp;
  readonly #dir: string;

  private constructor(upstream: OldRegistry, app: LocalApp, dir: string) {
    this.upstream = upstream;
    this.#app = app;
    this.#dir = dir;
  }

  static async start(traits: Traits = {}): Promise<Front> {
    const dir = await mkdtemp(join(tmpdir(), 'starlight-referrers-'));
    const upstream = new OldRegistry(dir, traits);
    const front = new Front(upstream, await LocalApp.start(new ReferrersFallback(upstream)), dir);
    await front.call('POST', `blobs/uploads/?digest=${digestOf(CONFIG)}`, CONFIG);
    return front;
  }

  async call(method: string, path: string, body?: string | Buffer, headers = {}): Promise<Response> {
    const sent = body === undefined ? {} : { body: Buffer.from(body) };
    return fetch(`${this.#app.url}/v2/a/b/${path}`, { method, headers, ...sent });
  }

  /** Pushes an artifact that refers to SUBJECT. */
  async push(kind: string, reference?: string): Promise<{ answer: Response; digest: Digest }> {
    const document = artifact(kind);
    const digest = digestOf(document);
    const headers = { 'Content-Type': MEDIA_TYPE.ociManifest };
    return { answer: await this.call('PUT', `manifests/${reference ?? digest}`, document, headers), digest };
  }

  async list(query = '', subject = SUBJECT): Promise<{ response: Response; entries: readonly Descriptor[] }> {
    const response = await this.call('GET', `referrers/${subject}${query}`);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), MEDIA_TYPE.ociIndex);
    return { response, entries: parseIndex(Buffer.from(await response.arrayBuffer())).manifests };
  }

  async tags(): Promise<readonly string[]> {
    return ((await (await this.call('GET', 'tags/list')).json()) as { tags: string[] }).tags;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app[Symbol.asyncDispose]();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

function artifact(kind: string): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    artifactType: kind,
    config: { mediaType: MEDIA_TYPE.ociConfig, digest: digestOf(CONFIG), size: CONFIG.length },
    layers: [],
    subject: { mediaType: MEDIA_TYPE.ociManifest, digest: SUBJECT, size: 3 },
    annotations: { of: kind },
  });
}

describe('ReferrersFallback, in front of a registry without the API', () => {
  it('answers an empty list for what nothing refers to', async () => {
    await using front = await Front.start();
    assert.deepEqual((await front.list()).entries, []);
  });

  for (const [title, reference] of [
    ['by digest', undefined],
    ['by tag', 'sbom'],
  ] as const) {
    it(`enters what is pushed ${title}, once, and says so`, async () => {
      await using front = await Front.start();
      const { answer, digest } = await front.push(SBOM, reference);
      assert.equal(answer.status, 201);
      assert.equal(answer.headers.get('oci-subject'), SUBJECT);
      await front.push(SBOM, reference);
      const { entries } = await front.list();
      const size = Buffer.byteLength(artifact(SBOM));
      const expected = {
        mediaType: MEDIA_TYPE.ociManifest,
        digest,
        size,
        artifactType: SBOM,
        annotations: { of: SBOM },
      };
      assert.deepEqual(entries, [expected]);
    });
  }

  it('filters by artifact type, and pages', async () => {
    await using front = await Front.start();
    const digests: Digest[] = [];
    for (const kind of [SBOM, 'b/1', 'b/2', 'b/3']) digests.push((await front.push(kind)).digest);
    const { response, entries } = await front.list(`?artifactType=${SBOM}`);
    assert.equal(response.headers.get('oci-filters-applied'), 'artifactType');
    assert.deepEqual(
      entries.map((entry) => entry.digest),
      digests.slice(0, 1),
    );
    const seen: string[] = [];
    for (let query: string | undefined = '?n=3'; query !== undefined; ) {
      const page = await front.list(query);
      seen.push(...page.entries.map((entry) => entry.digest));
      query = /<[^?]*([^>]*)>; rel="next"/.exec(page.response.headers.get('link') ?? '')?.[1];
    }
    assert.deepEqual(seen, digests.toSorted());
  });

  it('keeps every one of many pushed at once', async () => {
    await using front = await Front.start();
    const kinds = Array.from({ length: 24 }, (_, row) => `many/${row}`);
    const pushed = await Promise.all(kinds.map((kind) => front.push(kind)));
    assert.ok(pushed.every(({ answer }) => answer.headers.get('oci-subject') === SUBJECT));
    const { entries } = await front.list();
    assert.deepEqual(entries.map((entry) => entry.artifactType).toSorted(), kinds.toSorted());
  });

  it('takes out what is deleted, and the tag with the last', async () => {
    await using front = await Front.start({ strict: true });
    const first = await front.push('one');
    const second = await front.push('two');
    assert.equal((await front.call('DELETE', `manifests/${first.digest}`)).status, 202);
    assert.deepEqual(
      (await front.list()).entries.map((entry) => entry.digest),
      [second.digest],
    );
    assert.equal((await front.call('DELETE', `manifests/${second.digest}`)).status, 202);
    assert.deepEqual((await front.list()).entries, []);
    assert.deepEqual(await front.tags(), []);
  });

  it('leaves an empty list where the registry does not delete lists', async () => {
    const gone = digestOf(artifact('one'));
    await using front = await Front.start({
      script: ({ method, endpoint }) =>
        method === 'DELETE' && endpoint.kind === 'manifest' && endpoint.reference !== gone
          ? status(405)
          : undefined,
    });
    await front.push('one');
    await front.call('DELETE', `manifests/${gone}`);
    assert.deepEqual((await front.list()).entries, []);
    assert.deepEqual(await front.tags(), [TAG]);
  });

  it('drops what went behind its back where the registry refuses a list that names it', async () => {
    await using front = await Front.start({ strict: true });
    const first = await front.push('one');
    await front.upstream.answer({
      ...(front.upstream.asked.at(-1) as RegistryRequest), // pushing asked something
      method: 'DELETE',
      endpoint: { kind: 'manifest', name: NAME, reference: first.digest },
    });
    const second = await front.push('two');
    assert.equal(second.answer.headers.get('oci-subject'), SUBJECT);
    assert.deepEqual(
      (await front.list()).entries.map((entry) => entry.digest),
      [second.digest],
    );
  });

  it('asks as the caller does, with nothing else of theirs', async () => {
    await using front = await Front.start();
    const before = front.upstream.asked.length;
    await front.call('GET', `referrers/${SUBJECT}?ns=registry.test&n=7`, undefined, {
      Authorization: 'Bearer mine',
      Range: 'bytes=0-1',
      'If-None-Match': '*',
      'User-Agent': 'tester',
    });
    const own = front.upstream.asked.slice(before).find(({ endpoint }) => endpoint.kind === 'manifest');
    assert.deepEqual(own?.endpoint, { kind: 'manifest', name: NAME, reference: TAG });
    assert.deepEqual(own.headers, {
      authorization: 'Bearer mine',
      'user-agent': 'tester',
      accept: MEDIA_TYPE.ociIndex,
    });
    assert.equal(own.rawQuery, '', 'the host that the client means is not for the upstream');
  });

  for (const [code, headers] of [
    [401, [['WWW-Authenticate', 'Bearer realm="x"']]],
    [403, []],
    [429, [['Retry-After', '9']]],
    [503, []],
  ] as const) {
    it(`passes on that the list is refused with ${code}`, async () => {
      await using front = await Front.start({
        script: ({ endpoint }) => (endpoint.kind === 'manifest' ? status(code, headers) : undefined),
      });
      const answer = await front.call('GET', `referrers/${SUBJECT}`);
      assert.equal(answer.status, code);
      for (const [name, value] of headers) assert.equal(answer.headers.get(name), value);
    });
  }

  for (const [title, isList] of [
    ['read', 'GET'],
    ['written', 'PUT'],
  ] as const) {
    it(`does not claim to have entered what it could not, the list not to be ${title}`, async () => {
      await using front = await Front.start({
        script: ({ method, endpoint }) =>
          method === isList && endpoint.kind === 'manifest' && endpoint.reference === TAG
            ? status(403)
            : undefined,
      });
      const { answer } = await front.push(SBOM);
      assert.equal(answer.status, 201);
      assert.equal(answer.headers.get('oci-subject'), null);
    });
  }

  it('does not wait a second time for a registry that is away', async () => {
    let silent = false;
    await using front = await Front.start({
      script: () => {
        if (silent) throw new RegistryError({ kind: 'upstream-timeout' });
        return undefined;
      },
    });
    const { digest } = await front.push(SBOM);
    silent = true;
    const before = front.upstream.asked.length;
    const calls = [
      () => front.call('DELETE', `manifests/${digest}`),
      () => front.call('PUT', 'manifests/v1', artifact(SBOM)),
      () => front.call('GET', `referrers/${SUBJECT}`),
    ];
    for (const call of calls) assert.equal((await call()).status, 504);
    assert.equal(front.upstream.asked.length, before + calls.length);
  });

  it('neither reads nor overwrites a tag of that name that is no list', async () => {
    await using front = await Front.start();
    await front.push(SBOM, TAG);
    const listed = await front.call('GET', `referrers/${SUBJECT}`);
    assert.equal(listed.status, 502);
    const held = await front.call('GET', `manifests/${TAG}`);
    assert.equal(await held.text(), artifact(SBOM));
  });

  it('refuses what is no digest, and a manifest beyond every limit', async () => {
    await using front = await Front.start();
    assert.equal((await front.call('GET', 'referrers/latest')).status, 400);
    const large = await front.call('PUT', 'manifests/v1', Buffer.alloc(MAX_MANIFEST_BYTES + 1, 32));
    assert.equal(large.status, 413);
  });

  it('passes on what is no manifest, for the registry to refuse', async () => {
    await using front = await Front.start();
    const answer = await front.call('PUT', 'manifests/v1', '{"subject":', {
      'Content-Type': MEDIA_TYPE.ociManifest,
    });
    assert.equal(answer.status, 400);
    assert.equal(front.upstream.asked.at(-1)?.method, 'PUT');
  });
});

describe('ReferrersFallback, in front of a registry with the API', () => {
  it('leaves everything to it', async () => {
    await using front = await Front.start({ api: true });
    const { answer, digest } = await front.push(SBOM);
    assert.equal(answer.headers.get('oci-subject'), SUBJECT);
    assert.equal((await front.list()).entries[0]?.digest, digest);
    assert.equal((await front.call('DELETE', `manifests/${digest}`)).status, 202);
    assert.deepEqual((await front.list()).entries, []);
    const tagged = front.upstream.asked.filter(
      ({ endpoint }) => endpoint.kind === 'manifest' && endpoint.reference === TAG,
    );
    assert.deepEqual(tagged, []);
  });
});
