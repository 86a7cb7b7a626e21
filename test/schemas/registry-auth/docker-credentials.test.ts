import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CredentialSource } from '../../../schemas/registry-auth/credentials.ts';
import { fileCredentials, loginCredentials } from '../../../schemas/registry-auth/docker-credentials.ts';
import { DockerConfigError } from '../../../schemas/registry-auth/docker-config.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const user = { username: 'user', password: 'pass:word' };
const auth = { auth: base64('user:pass:word') };
const signal = new AbortController().signal;

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'starlight-credentials-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function write(config: unknown, name = 'config.json'): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, typeof config === 'string' ? config : JSON.stringify(config));
  return path;
}

/** Both read the same files: what of them holds for one holds for the other. */
const SOURCES: readonly (readonly [string, () => CredentialSource])[] = [
  ['fileCredentials()', () => fileCredentials(join(directory, 'config.json'))],
  ['loginCredentials()', () => loginCredentials({ DOCKER_CONFIG: directory })],
];

for (const [name, source] of SOURCES) {
  describe(name, () => {
    const find = async (config: unknown, host: string) => {
      await write(config);
      return await source()(host, signal);
    };

    const other = { auth: base64('other:x') };
    const found: readonly (readonly [string, unknown, string])[] = [
      ['a host', { auths: { 'registry.example': auth } }, 'registry.example'],
      ['a host in capitals', { auths: { 'Registry.Example': auth } }, 'registry.example'],
      ['a host with a port', { auths: { 'registry.example:5000': auth } }, 'registry.example:5000'],
      ['a URL', { auths: { 'https://registry.example/v2/': auth } }, 'registry.example'],
      ['the host before a URL', { auths: { 'https://a/team': other, a: auth } }, 'a'],
      ['the hub by its old name', { auths: { 'https://index.docker.io/v1/': auth } }, 'docker.io'],
      ['name and password apart', { auths: { a: user } }, 'a'],
      ['other keys beside', { auths: { a: auth }, credsStore: 'x', HttpHeaders: {} }, 'a'],
    ];
    for (const [what, config, host] of found) {
      it(`finds ${what}`, async () => assert.deepEqual(await find(config, host), user));
    }

    const identity: readonly (readonly [string, object])[] = [
      ['of its own field', { identitytoken: 'id' }],
      ['beside a password', { ...auth, identitytoken: 'id' }],
      ['under the name <token>', { auth: base64('<token>:id') }],
      ['apart, under that name', { username: '<token>', password: 'id' }],
    ];
    for (const [what, entry] of identity) {
      it(`finds an identity token ${what}`, async () => {
        assert.deepEqual(await find({ auths: { a: entry } }, 'a'), { identityToken: 'id' });
      });
    }
    it('takes an empty identity token for none', async () => {
      assert.deepEqual(await find({ auths: { a: { ...auth, identitytoken: '' } } }, 'a'), user);
    });

    const absent: readonly (readonly [string, unknown, string])[] = [
      ['another host', { auths: { a: auth } }, 'b'],
      ['another port', { auths: { 'a:1': auth } }, 'a:2'],
      ['the host as a prefix', { auths: { 'registry.example.evil': auth } }, 'registry.example'],
      ['no auths', {}, 'a'],
      ['an empty entry', { auths: { a: {} } }, 'a'],
      ['an empty auth', { auths: { a: { auth: '' } } }, 'a'],
      ['an auth without colon', { auths: { a: { auth: base64('user') } } }, 'a'],
      ['a helper of a name that is a path', { credHelpers: { a: '../../bin/evil' } }, 'a'],
    ];
    for (const [what, config, host] of absent) {
      it(`finds nothing with ${what}`, async () => assert.equal(await find(config, host), undefined));
    }

    for (const [what, config] of [
      ['no JSON', '{'],
      ['a list', []],
      ['auths of another shape', { auths: { a: 'secret' } }],
      ['helpers of another shape', { credHelpers: { a: ['secret'] } }],
    ] as const) {
      it(`refuses ${what}, without printing it`, async () => {
        await assert.rejects(find(config, 'a'), (error) => {
          assert.ok(error instanceof DockerConfigError);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        });
      });
    }

    it('a file that does not exist holds nothing', async () => {
      assert.equal(await source()('a', signal), undefined);
    });
  });
}

describe('helpers', () => {
  let path: string | undefined;
  beforeEach(async () => {
    path = process.env['PATH'];
    process.env['PATH'] = `${directory}:${path}`;
    // Knows one host, and answers with it as it was asked for.
    const program = `#!/bin/sh
read -r host || true
case "$host" in
  token) printf '{"Username":"<token>","Secret":"id"}' ;;
  long) head -c 2000000 /dev/zero | tr '\\0' ' '; printf '{"Username":"u","Secret":"p"}' ;;
  helped|https://index.docker.io/v1/) printf '{"Username":"%s","Secret":"pw"}' "$host" ;;
  *) echo 'credentials not found'; exit 1 ;;
esac
`;
    await write(program, 'docker-credential-fake');
    await chmod(join(directory, 'docker-credential-fake'), 0o755);
  });
  afterEach(() => {
    process.env['PATH'] = path;
  });

  const rows: readonly (readonly [string, object, string, object | undefined])[] = [
    [
      'a host has one of its own',
      { credHelpers: { helped: 'fake' } },
      'helped',
      { username: 'helped', password: 'pw' },
    ],
    ['all hosts have one', { credsStore: 'fake' }, 'helped', { username: 'helped', password: 'pw' }],
    [
      'the hub has its old name',
      { credsStore: 'fake' },
      'docker.io',
      { username: 'https://index.docker.io/v1/', password: 'pw' },
    ],
    ['the helper knows of none', { credsStore: 'fake' }, 'other', undefined],
    [
      'the helper knows of none, the file does',
      { credsStore: 'fake', auths: { other: auth } },
      'other',
      user,
    ],
    ['one gives an identity token', { credsStore: 'fake' }, 'token', { identityToken: 'id' }],
    ['one says far too much', { credsStore: 'fake' }, 'long', undefined],
    ['there is no such program', { credsStore: 'absent' }, 'helped', undefined],
  ];
  for (const [what, config, host, expected] of rows) {
    it(`are asked by a login where ${what}`, async () => {
      await write(config);
      assert.deepEqual(await loginCredentials({ DOCKER_CONFIG: directory })(host, signal), expected);
    });
  }

  it('are not run for a file alone', async () => {
    const file = await write({ credsStore: 'fake', credHelpers: { helped: 'fake' } });
    assert.equal(await fileCredentials(file)('helped', signal), undefined);
  });
});
