import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { endpointPath, parseEndpoint } from '../../../server/distribution/endpoint.ts';
import type {
  HeaderList,
  Registry,
  RegistryAnswer,
  RegistryMethod,
} from '../../../server/registry/registry.ts';
import { RegistryError } from '../../../server/registry/registry-error.ts';
import { RouteTable } from '../../../server/routing/route-table.ts';
import { RoutingRegistry } from '../../../server/routing/routing-registry.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

/** Says what it was asked, and answers with the headers that a test gives it. */
class Recorder implements Registry {
  readonly asked: string[] = [];
  headers: HeaderList = [];
  fault: RegistryError | undefined;

  async answer(request: Parameters<Registry['answer']>[0]): Promise<RegistryAnswer> {
    const query = request.rawQuery === '' ? '' : `?${request.rawQuery}`;
    assert.equal(new URLSearchParams(request.rawQuery).toString(), request.query.toString());
    this.asked.push(`${request.method} ${endpointPath(request.endpoint)}${query}`);
    if (this.fault !== undefined) throw this.fault;
    return { status: 200, headers: this.headers };
  }
}

describe('RoutingRegistry', () => {
  let hub: Recorder;
  let lan: Recorder;
  let router: RoutingRegistry;
  beforeEach(() => {
    hub = new Recorder();
    lan = new Recorder();
    router = new RoutingRegistry(
      new RouteTable([
        { route: { hosts: ['docker.io'], prefix: 'hub', isDefault: false }, registry: hub },
        { route: { hosts: ['lan.example:5000'], isDefault: true }, registry: lan },
      ]),
    );
  });

  const ask = async (target: string, method: RegistryMethod = 'GET', to: Registry = router) => {
    const [path = '', rawQuery = ''] = target.split('?');
    const endpoint = parseEndpoint(path);
    assert.ok(endpoint !== undefined, path);
    return await to.answer({
      endpoint,
      method,
      query: new URLSearchParams(rawQuery),
      rawQuery,
      headers: {},
      rawHeaders: [],
      body: Readable.from([]),
      signal: new AbortController().signal,
    });
  };
  const header = (answer: RegistryAnswer, name: string) =>
    answer.headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);

  const REQUESTS: readonly (readonly ['hub' | 'lan', RegistryMethod, asked: string, got: string])[] = [
    ['hub', 'GET', '/v2/library/redis/manifests/7?ns=docker.io', '/v2/library/redis/manifests/7'],
    ['hub', 'HEAD', '/v2/hub/library/redis/manifests/7', '/v2/library/redis/manifests/7'],
    [
      'lan',
      'GET',
      '/v2/team/app/tags/list?n=3&ns=lan.example:5000&last=a',
      '/v2/team/app/tags/list?n=3&last=a',
    ],
    ['lan', 'GET', '/v2/team/app/tags/list?n=3&last=%61', '/v2/team/app/tags/list?n=3&last=%61'],
    ['lan', 'GET', '/v2/', '/v2/'],
    ['hub', 'GET', '/v2/?ns=docker.io', '/v2/'],
    // A mount within one registry, its source renamed like its target.
    [
      'hub',
      'POST',
      `/v2/hub/a/blobs/uploads/?mount=${DIGEST}&from=hub/b`,
      `/v2/a/blobs/uploads/?${new URLSearchParams({ mount: DIGEST, from: 'b' })}`,
    ],
    [
      'hub',
      'POST',
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=b&ns=docker.io`,
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=b`,
    ],
    [
      'lan',
      'POST',
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=b`,
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=b`,
    ],
    ['lan', 'POST', `/v2/a/blobs/uploads/?mount=${DIGEST}`, `/v2/a/blobs/uploads/?mount=${DIGEST}`],
    [
      'lan',
      'POST',
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=B!`,
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=B!`,
    ],
    // A mount across registries: an upload like any other.
    ['lan', 'POST', `/v2/a/blobs/uploads/?mount=${DIGEST}&from=hub/b`, '/v2/a/blobs/uploads/'],
    ['hub', 'POST', `/v2/hub/a/blobs/uploads/?mount=${DIGEST}&from=b`, '/v2/a/blobs/uploads/'],
    // Nobody reaches another registry's repository by a name within a host's.
    [
      'lan',
      'POST',
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=hub/b&ns=lan.example:5000`,
      `/v2/a/blobs/uploads/?mount=${DIGEST}&from=hub/b`,
    ],
    // Of two hosts the first counts, and neither goes on.
    ['hub', 'GET', '/v2/a/tags/list?ns=docker.io&ns=lan.example:5000', '/v2/a/tags/list'],
  ];
  for (const [which, method, asked, got] of REQUESTS) {
    it(`passes ${method} ${asked.replaceAll(DIGEST, 'D')} on to ${which}`, async () => {
      await ask(asked, method);
      const [target, other] = which === 'hub' ? [hub, lan] : [lan, hub];
      assert.deepEqual([target.asked, other.asked], [[`${method} ${got}`], []]);
    });
  }

  const HUB_UPLOAD = '/v2/a/b/blobs/uploads/id?_state=x';
  const LOCATIONS: readonly (readonly [string, string, string, string])[] = [
    ['/v2/hub/a/b/blobs/uploads/', 'location', HUB_UPLOAD, '/v2/hub/a/b/blobs/uploads/id?_state=x'],
    ['/v2/a/b/blobs/uploads/?ns=docker.io', 'location', HUB_UPLOAD, `${HUB_UPLOAD}&ns=docker.io`],
    ['/v2/hub/a/b/blobs/uploads/', 'location', `/v2/a/b/blobs/${DIGEST}`, `/v2/hub/a/b/blobs/${DIGEST}`],
    [
      '/v2/a/b/blobs/uploads/?ns=docker.io',
      'location',
      `/v2/a/b/blobs/${DIGEST}`,
      `/v2/a/b/blobs/${DIGEST}?ns=docker.io`,
    ],
    [
      '/v2/hub/a/tags/list',
      'link',
      '</v2/a/tags/list?n=1&last=x>; rel="next"',
      '</v2/hub/a/tags/list?n=1&last=x>; rel="next"',
    ],
    [
      '/v2/a/tags/list?ns=docker.io',
      'link',
      '</v2/a/tags/list?n=1&last=x>; rel="next"',
      '</v2/a/tags/list?n=1&last=x&ns=docker.io>; rel="next"',
    ],
    ['/v2/hub/a/b/blobs/uploads/', 'location', 'https://store.example/v2/x', 'https://store.example/v2/x'],
  ];
  for (const [asked, name, told, expected] of LOCATIONS) {
    it(`leads ${name} ${told.replaceAll(DIGEST, 'D')} back for ${asked}`, async () => {
      hub.headers = [[name, told]];
      assert.deepEqual(header(await ask(asked), name), [expected]);
    });
  }

  it('leads the location of a chunk out of order back too', async () => {
    hub.fault = new RegistryError({
      kind: 'upload-out-of-order',
      location: '/v2/a/blobs/uploads/id',
      offset: 5,
    });
    await assert.rejects(ask('/v2/hub/a/blobs/uploads/id', 'PATCH'), (error) => {
      assert.ok(error instanceof RegistryError && error.fault.kind === 'upload-out-of-order');
      assert.equal(error.fault.location, '/v2/hub/a/blobs/uploads/id');
      return true;
    });
  });

  const NAMED: readonly (readonly [string, string])[] = [
    ['/v2/a/tags/list?ns=index.docker.io', 'index.docker.io'],
    ['/v2/hub/a/tags/list', 'docker.io'],
    ['/v2/a/tags/list', 'lan.example:5000'],
    ['/v2/', 'lan.example:5000'],
  ];
  for (const [asked, host] of NAMED) {
    it(`names ${host} in the answer to ${asked}, whatever that registry says`, async () => {
      hub.headers = [['OCI-Namespace', 'evil.example']];
      assert.deepEqual(header(await ask(asked), 'oci-namespace'), [host]);
    });
  }

  const REFUSED: readonly (readonly [string, string])[] = [
    ['/v2/a/tags/list?ns=ghcr.io', 'namespace-unknown'],
    ['/v2/hub/a/tags/list?ns=ghcr.io', 'namespace-unknown'],
    ['/v2/?ns=ghcr.io', 'namespace-unknown'],
  ];
  for (const [asked, kind] of REFUSED) {
    it(`refuses ${asked} as ${kind} and asks nobody`, async () => {
      await assert.rejects(
        ask(asked),
        (error) => error instanceof RegistryError && error.fault.kind === kind,
      );
      assert.deepEqual([...hub.asked, ...lan.asked], []);
    });
  }

  it('without a default is a registry all the same, and knows no name of its own', async () => {
    const registry = new RoutingRegistry(
      new RouteTable([{ route: { hosts: [], prefix: 'hub', isDefault: false }, registry: hub }]),
    );
    const base = await ask('/v2/', 'GET', registry);
    assert.deepEqual([base.status, header(base, 'oci-namespace')], [200, []]);
    assert.equal((await ask('/v2/', 'HEAD', registry)).body, undefined);
    await assert.rejects(
      ask('/v2/a/tags/list', 'GET', registry),
      (error) => error instanceof RegistryError && error.fault.kind === 'name-unknown',
    );
  });
});
