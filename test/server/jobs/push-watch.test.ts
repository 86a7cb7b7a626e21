import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import type { PushedImage } from '../../../extensions/starlight/events/pushed-image.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { parseEndpoint } from '../../../server/distribution/endpoint.ts';
import { PushWatch } from '../../../server/jobs/push-watch.ts';
import type { RegistryMethod } from '../../../server/registry/registry.ts';
import { RegistryError } from '../../../server/registry/registry-error.ts';

const DIGEST = digestOf('a manifest');
const NAME = 'team/app';

async function told(
  method: RegistryMethod,
  path: string,
  type: string,
  status: number,
): Promise<readonly PushedImage[]> {
  const pushed: PushedImage[] = [];
  const headers = [['Docker-Content-Digest', DIGEST]] as const;
  const watch = new PushWatch({ answer: async () => ({ status, headers }) }, (images) =>
    pushed.push(...images),
  );
  const url = new URL(path, 'http://proxy.invalid');
  const endpoint = parseEndpoint(url.pathname);
  assert.ok(endpoint);
  const answer = await watch.answer({
    ...{ endpoint, method, query: url.searchParams, rawQuery: url.search.slice(1) },
    headers: { 'content-type': type },
    rawHeaders: ['Content-Type', type],
    body: Readable.from([]),
    signal: new AbortController().signal,
  });
  assert.deepEqual(answer, { status, headers });
  return pushed;
}

const { ociManifest, ociIndex, dockerList, ociLayerGzip } = MEDIA_TYPE;
const CASES: readonly (readonly [
  method: RegistryMethod,
  path: string,
  type: string,
  status: number,
  references: readonly string[],
])[] = [
  ['PUT', `/v2/${NAME}/manifests/v1`, ociManifest, 201, ['v1']],
  ['PUT', `/v2/${NAME}/manifests/v1`, `${ociIndex}; charset=utf-8`, 201, ['v1']],
  ['PUT', `/v2/${NAME}/manifests/v1`, dockerList, 201, ['v1']],
  ['PUT', `/v2/${NAME}/manifests/${DIGEST}`, ociManifest, 201, [DIGEST]],
  ['PUT', `/v2/${NAME}/manifests/${DIGEST}?tag=v1&tag=v2`, ociManifest, 201, ['v1', 'v2']],
  ['PUT', `/v2/${NAME}/manifests/v1`, ociManifest, 400, []],
  ['PUT', `/v2/${NAME}/manifests/v1`, ociManifest, 401, []],
  ['PUT', `/v2/${NAME}/manifests/v1`, 'application/x', 201, []],
  ['PUT', `/v2/${NAME}/blobs/uploads/x?digest=${DIGEST}`, ociLayerGzip, 201, []],
  ['GET', `/v2/${NAME}/manifests/v1`, ociManifest, 200, []],
  ['DELETE', `/v2/${NAME}/manifests/v1`, ociManifest, 202, []],
];

describe('PushWatch', () => {
  for (const [method, path, type, status, references] of CASES) {
    it(`${method} ${path} as ${type}, answered ${status}: tells of ${references.length}`, async () => {
      const expected = references.map((reference) => ({ name: NAME, reference, digest: DIGEST }));
      assert.deepEqual(await told(method, path, type, status), expected);
    });
  }

  it('passes on what the registry throws, and tells of nothing', async () => {
    const fault = new RegistryError({ kind: 'storage-full' });
    const watch = new PushWatch(
      {
        answer: async () => {
          throw fault;
        },
      },
      () => assert.fail('it told'),
    );
    const endpoint = parseEndpoint(`/v2/${NAME}/manifests/v1`);
    assert.ok(endpoint);
    const request = {
      endpoint,
      method: 'PUT',
      query: new URLSearchParams(),
      rawQuery: '',
      headers: {},
    } as const;
    const { signal } = new AbortController();
    await assert.rejects(
      watch.answer({ ...request, rawHeaders: [], body: Readable.from([]), signal }),
      fault,
    );
  });
});
