import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseChallenge } from '../../../worker/download/challenge.ts';
import {
  DockerConfigError,
  dockerCredentials,
  parseUserPassword,
} from '../../../worker/download/docker-config.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const user = { username: 'user', password: 'pass:word' };

describe('dockerCredentials()', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync('/tmp/sl-docker-');
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const find = (config: unknown, host: string) => {
    const path = join(directory, 'config.json');
    writeFileSync(path, typeof config === 'string' ? config : JSON.stringify(config));
    return dockerCredentials(path, host);
  };
  const auth = { auth: base64('user:pass:word') };

  const found: readonly (readonly [string, unknown, string])[] = [
    ['a host', { auths: { 'registry.example': auth } }, 'registry.example'],
    ['a host with a port', { auths: { 'registry.example:5000': auth } }, 'registry.example:5000'],
    ['a URL', { auths: { 'https://registry.example/v2/': auth } }, 'registry.example'],
    ['the hub by its old name', { auths: { 'https://index.docker.io/v1/': auth } }, 'docker.io'],
    ['name and password apart', { auths: { a: user } }, 'a'],
    ['other keys beside', { auths: { a: auth }, credsStore: 'x', HttpHeaders: {} }, 'a'],
  ];
  for (const [name, config, host] of found) {
    it(`finds ${name}`, async () => assert.deepEqual(await find(config, host), user));
  }

  const absent: readonly (readonly [string, unknown, string])[] = [
    ['another host', { auths: { a: auth } }, 'b'],
    ['another port', { auths: { 'a:1': auth } }, 'a:2'],
    ['the host as a prefix', { auths: { 'registry.example.evil': auth } }, 'registry.example'],
    ['no auths', {}, 'a'],
    ['an empty entry', { auths: { a: {} } }, 'a'],
    ['an auth without colon', { auths: { a: { auth: base64('user') } } }, 'a'],
  ];
  for (const [name, config, host] of absent) {
    it(`finds nothing with ${name}`, async () => assert.equal(await find(config, host), undefined));
  }

  for (const [name, config] of [
    ['no JSON', '{'],
    ['a list', []],
    ['auths of another shape', { auths: { a: 'secret' } }],
  ] as const) {
    it(`refuses ${name}, without printing it`, async () => {
      await assert.rejects(find(config, 'a'), (error) => {
        assert.ok(error instanceof DockerConfigError);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    });
  }

  it('a file that does not exist holds nothing', async () => {
    assert.equal(await dockerCredentials(join(directory, 'none'), 'a'), undefined);
  });
});

describe('parseUserPassword()', () => {
  for (const [text, expected] of [
    ['user:pass:word', user],
    ['user:', { username: 'user', password: '' }],
    ['user', undefined],
    ['', undefined],
  ] as const) {
    it(JSON.stringify(text), () => assert.deepEqual(parseUserPassword(text), expected));
  }
});

describe('parseChallenge()', () => {
  const realm = 'https://auth.example/token';
  const rows: readonly (readonly [string, unknown])[] = [
    ['Basic realm="x"', { scheme: 'basic' }],
    ['basic', { scheme: 'basic' }],
    [`Bearer realm="${realm}"`, { scheme: 'bearer', realm }],
    [
      `Bearer realm="${realm}",service="r",scope="repository:a/b:pull,push"`,
      { scheme: 'bearer', realm, service: 'r', scope: 'repository:a/b:pull,push' },
    ],
    [`bearer scope=s , service=r, realm="${realm}"`, { scheme: 'bearer', realm, service: 'r', scope: 's' }],
    [`Bearer realm="${realm}",service="a \\"b\\""`, { scheme: 'bearer', realm, service: 'a "b"' }],
    ['Bearer', undefined],
    ['Bearer service="r"', undefined],
    ['Bearer realm="not a url"', undefined],
    ['Bearer realm=""', undefined],
    ['Negotiate', undefined],
    ['Digest realm="x"', undefined],
    ['', undefined],
  ];
  for (const [header, expected] of rows) {
    it(JSON.stringify(header), () => assert.deepEqual(parseChallenge(header), expected));
  }
});
