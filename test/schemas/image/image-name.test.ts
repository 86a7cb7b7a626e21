import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dockerCredentials } from '../../../schemas/image/credentials.ts';
import { parseImageName } from '../../../schemas/image/image-name.ts';

describe('parseImageName()', () => {
  const good: readonly (readonly [string, object])[] = [
    ['oci:/tmp/x', { kind: 'layout', directory: '/tmp/x', tag: undefined }],
    ['oci:/tmp/x:v1', { kind: 'layout', directory: '/tmp/x', tag: 'v1' }],
    ['oci:a:b/c', { kind: 'layout', directory: 'a:b/c', tag: undefined }],
    ['r.example/a:v', { kind: 'registry', reference: { host: 'r.example', name: 'a', tag: 'v' } }],
    [
      'docker://r.example:5000/a',
      { kind: 'registry', reference: { host: 'r.example:5000', name: 'a', tag: 'latest' } },
    ],
  ];
  for (const [text, expected] of good) {
    it(text, () => assert.deepEqual(parseImageName(text), expected));
  }
  const bad = [
    '',
    'redis:7',
    'oci:',
    'oci::tag',
    'oci:x:',
    'oci:x:-bad',
    'docker://',
    'r.example/UPPER',
    'r.example/a@b',
    'dir:/tmp',
  ];
  for (const text of bad) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseImageName(text), { name: 'ImageError', kind: 'invalid-name' });
    });
  }
});

describe('dockerCredentials()', () => {
  const signal = new AbortController().signal;
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-test-credentials-'));
    const auth = (text: string): { auth: string } => ({ auth: Buffer.from(text).toString('base64') });
    const auths = {
      'r.example': auth('me:se:cret'),
      'https://index.docker.io/v1/': auth('hub:pw'),
      'broken.example': { auth: 'bm9jb2xvbg==' },
      'empty.example': {},
    };
    await writeFile(join(directory, 'config.json'), JSON.stringify({ auths }));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  const rows: readonly (readonly [string, object | undefined])[] = [
    ['r.example', { username: 'me', password: 'se:cret' }],
    ['docker.io', { username: 'hub', password: 'pw' }],
    ['broken.example', undefined],
    ['empty.example', undefined],
    ['other.example', undefined],
  ];
  for (const [host, expected] of rows) {
    it(host, async () => {
      assert.deepEqual(await dockerCredentials({ DOCKER_CONFIG: directory })(host, signal), expected);
    });
  }

  it('finds none where there is no file', async () => {
    const find = dockerCredentials({ DOCKER_CONFIG: join(directory, 'missing') });
    assert.equal(await find('r.example', signal), undefined);
  });
});
