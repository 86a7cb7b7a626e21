import assert from 'node:assert/strict';
import type { PushedImage } from '../../../../extensions/starlight/events/pushed-image.ts';
import { MAX_EVENTS } from '../../../../extensions/starlight/events/pushed-image.ts';
import { readEvents } from '../../../../extensions/starlight/events/read-events.ts';
import { type Digest, digestOf } from '../../../../schemas/oci/digest.ts';
import { StarlightError } from '../../../../extensions/starlight/starlight-error.ts';

const DIGEST = digestOf('an image');
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const DISTRIBUTION = 'application/vnd.docker.distribution.events.v2+json';
const CLOUD = 'application/cloudevents+json; charset=UTF-8';

// The samples are laid out as the sources' own documentation and code have them.
const harborData = (tag: string, digest: string = DIGEST) => ({
  resources: [{ digest, tag, resource_url: `hub.harbor.com/test-webhook/debian:${tag}` }],
  repository: {
    date_created: 1586922308,
    name: 'debian',
    namespace: 'test-webhook',
    repo_full_name: 'test-webhook/debian',
    repo_type: 'private',
  },
});
const harbor = (type: string, event_data: unknown) => ({
  type,
  occur_at: 1586922308,
  operator: 'admin',
  event_data,
});
const harborCloud = (type: string, data: unknown) => ({
  specversion: '1.0',
  requestid: '2eedfab8-61d3-4f3c-8ec3-8f82d1ec4c84',
  id: '4b2f89a6-548d-4c12-9993-a1f5790b97d2',
  source: '/projects/1/webhook/policies/3',
  type,
  datacontenttype: 'application/json',
  time: '2023-03-06T06:08:43Z',
  data,
  operator: 'admin',
});
const target = (fields: object = {}) => ({
  mediaType: MANIFEST,
  digest: DIGEST,
  length: 708,
  size: 708,
  repository: 'library/test',
  url: 'https://example.com/v2/library/test/manifests/x',
  ...fields,
});
const distribution = (action: string, what: object, useragent = 'docker/27') => ({
  id: 'asdf-asdf-asdf-asdf-0',
  timestamp: '2006-01-02T15:04:05Z',
  action,
  target: what,
  request: { id: 'asdfasdf', addr: 'client.local', host: 'registry.local', method: 'PUT', useragent },
  actor: { name: 'test-actor' },
  source: { addr: 'hostname.local:port', instanceID: 'a53db899-3b4b-4a62-a067-8dd013beaca4' },
});
const zotData = {
  name: 'team/app',
  reference: 'v1',
  digest: DIGEST,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  manifest: '{"schemaVersion":2}',
};
const zot = (type: string, data: unknown = zotData) => ({
  specversion: '1.0',
  id: '6a1e6bb5-1ba3-4d0c-8b46-dcb5f3ef3ba1',
  source: 'zotregistry.dev',
  type,
  datacontenttype: 'application/json',
  time: '2026-01-02T15:04:05.123Z',
  data,
});
const binary = (type: string) => ({
  'ce-specversion': '1.0',
  'ce-id': '6a1e6bb5',
  'ce-source': 'zotregistry.dev',
  'ce-type': type,
  'content-type': 'application/json',
});

type Headers = Readonly<Record<string, string>>;
const read = (body: unknown, headers: Headers) => readEvents(body, (name) => headers[name]);
const image = (name: string, reference: string, digest: Digest = DIGEST): PushedImage => ({
  name,
  reference,
  digest,
});

const GOOD: readonly (readonly [
  what: string,
  body: unknown,
  headers: Headers,
  pushed: readonly PushedImage[],
  ignored: number,
])[] = [
  [
    'Harbor, PUSH_ARTIFACT',
    harbor('PUSH_ARTIFACT', harborData('latest')),
    {},
    [image('test-webhook/debian', 'latest')],
    0,
  ],
  [
    'Harbor, without a tag',
    harbor('PUSH_ARTIFACT', harborData(DIGEST)),
    {},
    [image('test-webhook/debian', DIGEST)],
    0,
  ],
  ['Harbor, DELETE_ARTIFACT', harbor('DELETE_ARTIFACT', harborData('latest')), {}, [], 1],
  ['Harbor, PULL_ARTIFACT', harbor('PULL_ARTIFACT', harborData('latest')), {}, [], 1],
  ['Harbor, an event of another shape', harbor('QUOTA_EXCEED', { custom: true }), {}, [], 1],
  [
    'Harbor, CloudEvents',
    harborCloud('harbor.artifact.pushed', harborData('latest')),
    { 'content-type': CLOUD },
    [image('test-webhook/debian', 'latest')],
    0,
  ],
  [
    'Harbor, CloudEvents as application/json',
    harborCloud('harbor.artifact.pushed', harborData('latest')),
    { 'content-type': 'application/json' },
    [image('test-webhook/debian', 'latest')],
    0,
  ],
  [
    'Harbor, CloudEvents of a pull',
    harborCloud('harbor.artifact.pulled', harborData(DIGEST)),
    { 'content-type': CLOUD },
    [],
    1,
  ],
  [
    'distribution, several events in one envelope',
    {
      events: [
        distribution('push', target({ tag: 'v1' })),
        distribution('push', target({ repository: 'library/other' })),
      ],
    },
    { 'content-type': DISTRIBUTION },
    [image('library/test', 'v1'), image('library/other', DIGEST)],
    0,
  ],
  [
    'distribution, a pull',
    { events: [distribution('pull', target({ tag: 'v1' }))] },
    { 'content-type': DISTRIBUTION },
    [],
    1,
  ],
  [
    'distribution, a blob',
    { events: [distribution('push', target({ mediaType: 'application/octet-stream' }))] },
    { 'content-type': DISTRIBUTION },
    [],
    1,
  ],
  [
    'distribution, a mount',
    { events: [distribution('mount', target({ fromRepository: 'x' }))] },
    { 'content-type': DISTRIBUTION },
    [],
    1,
  ],
  [
    'distribution, a deletion, whose target says little',
    { events: [distribution('delete', { digest: DIGEST, repository: 'library/test' })] },
    { 'content-type': DISTRIBUTION },
    [],
    1,
  ],
  [
    'distribution, a push of ours',
    { events: [distribution('push', target({ tag: 'v1' }), 'starlight-proxy-conversion')] },
    { 'content-type': DISTRIBUTION },
    [],
    1,
  ],
  ['distribution, nothing', { events: [] }, { 'content-type': DISTRIBUTION }, [], 0],
  [
    'distribution, as application/json',
    { events: [distribution('push', target({ tag: 'v1' }))] },
    { 'content-type': 'application/json' },
    [image('library/test', 'v1')],
    0,
  ],
  [
    'zot, structured',
    zot('zotregistry.image.updated'),
    { 'content-type': CLOUD },
    [image('team/app', 'v1')],
    0,
  ],
  ['zot, binary', zotData, binary('zotregistry.image.updated'), [image('team/app', 'v1')], 0],
  ['zot, binary, a deletion', zotData, binary('zotregistry.image.deleted'), [], 1],
  [
    'zot, under another word',
    zot('com.example.registry.image.updated'),
    { 'content-type': CLOUD },
    [image('team/app', 'v1')],
    0,
  ],
  [
    'zot, a new repository',
    zot('zotregistry.repository.created', { name: 'team/app' }),
    { 'content-type': CLOUD },
    [],
    1,
  ],
  [
    'zot, a batch',
    [zot('zotregistry.image.updated'), zot('zotregistry.image.deleted')],
    { 'content-type': 'application/cloudevents-batch+json' },
    [image('team/app', 'v1')],
    1,
  ],
  [
    'CloudEvents with data in base64',
    {
      ...zot('zotregistry.image.updated'),
      data_base64: Buffer.from(JSON.stringify(zotData)).toString('base64'),
    },
    { 'content-type': CLOUD },
    [image('team/app', 'v1')],
    0,
  ],
];

const BAD: readonly (readonly [what: string, body: unknown, headers: Headers])[] = [
  ['nothing', null, {}],
  ['a text', 'PUSH_ARTIFACT', {}],
  ['an empty object', {}, {}],
  ['a list of something', [1], {}],
  ['Harbor without data', { type: 'PUSH_ARTIFACT', occur_at: 1 }, {}],
  ['Harbor without a repository', harbor('PUSH_ARTIFACT', { resources: [] }), {}],
  [
    'Harbor with a number for a tag',
    harbor('PUSH_ARTIFACT', { ...harborData('x'), resources: [{ tag: 7 }] }),
    {},
  ],
  [
    'Harbor with too many resources',
    harbor('PUSH_ARTIFACT', {
      ...harborData('x'),
      resources: Array.from({ length: MAX_EVENTS + 1 }, () => ({ tag: 'v1' })),
    }),
    {},
  ],
  [
    'an envelope with an event of another shape',
    { events: [{ action: 7 }] },
    { 'content-type': DISTRIBUTION },
  ],
  [
    'an envelope with too many events',
    { events: Array.from({ length: MAX_EVENTS + 1 }, () => distribution('pull', target())) },
    { 'content-type': DISTRIBUTION },
  ],
  [
    'Harbor that says that it is distribution',
    harbor('PUSH_ARTIFACT', harborData('latest')),
    { 'content-type': DISTRIBUTION },
  ],
  [
    'CloudEvents of another version',
    { ...zot('zotregistry.image.updated'), specversion: '0.3' },
    { 'content-type': CLOUD },
  ],
  ['CloudEvents without an id', { ...zot('zotregistry.image.updated'), id: '' }, { 'content-type': CLOUD }],
  ['zot without data', { ...zot('zotregistry.image.updated'), data: undefined }, { 'content-type': CLOUD }],
  [
    'zot with a reference that is none',
    zot('zotregistry.image.updated', { ...zotData, reference: '../x' }),
    { 'content-type': CLOUD },
  ],
  ['zot, binary, without a type', zotData, { 'ce-specversion': '1.0', 'ce-id': 'x', 'ce-source': 'y' }],
  [
    'base64 that is no JSON',
    { ...zot('zotregistry.image.updated'), data_base64: '!!!' },
    { 'content-type': CLOUD },
  ],
  [
    'a batch with one that is none',
    [zot('zotregistry.image.updated'), {}],
    { 'content-type': 'application/cloudevents-batch+json' },
  ],
];

describe('readEvents()', () => {
  for (const [what, body, headers, pushed, ignored] of GOOD) {
    it(`reads ${what}`, () => {
      assert.deepEqual(read(JSON.parse(JSON.stringify(body)), headers), { pushed, ignored });
    });
  }
  for (const [what, body, headers] of BAD) {
    it(`refuses ${what}, and says what it takes`, () => {
      assert.throws(
        () => read(JSON.parse(JSON.stringify(body)), headers),
        (error) => error instanceof StarlightError && /Harbor.*distribution.*zot/.test(error.message),
      );
    });
  }
});
