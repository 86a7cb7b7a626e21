import assert from 'node:assert/strict';
import { endpointPath, parseEndpoint } from '../../../server/distribution/endpoint.ts';
import { RegistryError } from '../../../server/registry/registry-error.ts';

const HEX = 'a'.repeat(64);
const GOOD: readonly (readonly [string, unknown])[] = [
  ['/v2/', { kind: 'base' }],
  ['/v2', { kind: 'base' }],
  ['/v2/a/manifests/v1', { kind: 'manifest', name: 'a', reference: 'v1' }],
  [`/v2/a/b/c/manifests/sha256:${HEX}`, { kind: 'manifest', name: 'a/b/c', reference: `sha256:${HEX}` }],
  [`/v2/a/manifests/sha256%3A${HEX}`, { kind: 'manifest', name: 'a', reference: `sha256:${HEX}` }],
  [`/v2/a/blobs/sha256:${HEX}`, { kind: 'blob', name: 'a', digest: `sha256:${HEX}` }],
  ['/v2/a/blobs/uploads/', { kind: 'uploads', name: 'a' }],
  ['/v2/a/blobs/uploads', { kind: 'uploads', name: 'a' }],
  ['/v2/a/blobs/uploads/x-1', { kind: 'upload', name: 'a', session: 'x-1' }],
  ['/v2/a/tags/list', { kind: 'tags', name: 'a' }],
  [`/v2/a/referrers/sha256:${HEX}`, { kind: 'referrers', name: 'a', digest: `sha256:${HEX}` }],
  ['/v2/blobs/uploads/blobs/uploads/x', { kind: 'upload', name: 'blobs/uploads', session: 'x' }],
  ['/v2/a/manifests/tags/list', { kind: 'tags', name: 'a/manifests' }],
  ['/v2/manifests/manifests/manifests', { kind: 'manifest', name: 'manifests', reference: 'manifests' }],
];

const NONE: readonly string[] = [
  '/',
  '/v1/',
  '/v2/a',
  '/v2/_catalog',
  '/v2/_oci/ext/discover',
  '/v2/a/manifests/',
  '/v2/a/blobs/',
  '/v2/a/tags/',
  '/v2/a/tags/all',
  '/v2/a/referrers/',
  '/v2/manifests/v1',
  '/v2//manifests/v1',
  '/v2/a/manifests/..',
  '/v2/a/manifests/%2e%2e',
  '/v2/a/blobs/uploads/..',
  '/v2/a/blobs/uploads/.',
  '/v2/a/manifests/%zz',
  '/v2/a/manifests/%ff',
];

const BAD_NAMES: readonly string[] = [
  '/v2/../etc/manifests/v1',
  '/v2/%2e%2e/manifests/v1',
  '/v2/a/../b/manifests/v1',
  '/v2/a%2f..%2fb/manifests/v1',
  '/v2/a//b/manifests/v1',
  '/v2//a/manifests/v1',
  '/v2/A/manifests/v1',
  '/v2/_layout/manifests/v1',
  '/v2/a/_layout/manifests/v1',
  '/v2/a/_uploads/blobs/x',
  '/v2/.a/manifests/v1',
  '/v2/a\\b/manifests/v1',
  '/v2/a%00b/manifests/v1',
  '/v2/a%0ab/manifests/v1',
  `/v2/${'a'.repeat(256)}/manifests/v1`,
];

describe('parseEndpoint()', () => {
  for (const [path, endpoint] of GOOD) {
    it(`reads ${path}`, () => assert.deepEqual(parseEndpoint(path), endpoint));
  }
  for (const path of NONE) {
    it(`has nothing at ${path}`, () => assert.equal(parseEndpoint(path), undefined));
  }
  for (const path of BAD_NAMES) {
    it(`refuses the name in ${path.slice(0, 60)}`, () =>
      assert.throws(
        () => parseEndpoint(path),
        (error) => error instanceof RegistryError && error.fault.kind === 'name-invalid',
      ));
  }
});

describe('endpointPath()', () => {
  for (const [path, endpoint] of GOOD) {
    it(`gives a path that is read as the same as ${path}`, () => {
      const parsed = parseEndpoint(path);
      assert.ok(parsed !== undefined);
      assert.deepEqual(parseEndpoint(endpointPath(parsed)), endpoint);
    });
  }
  it('lets nothing of a reference out of its segment', () => {
    const endpoint = parseEndpoint('/v2/a/manifests/x%3Fy%23z%2e');
    assert.ok(endpoint !== undefined);
    assert.equal(endpointPath(endpoint), '/v2/a/manifests/x%3Fy%23z.');
  });
});
