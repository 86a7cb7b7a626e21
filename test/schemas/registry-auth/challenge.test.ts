import assert from 'node:assert/strict';
import { parseChallenge } from '../../../schemas/registry-auth/challenge.ts';

describe('parseChallenge()', () => {
  const realm = 'https://auth.example/token';
  const rows: readonly (readonly [string | readonly string[], ReturnType<typeof parseChallenge>])[] = [
    ['Basic realm="x"', { scheme: 'basic' }],
    ['basic', { scheme: 'basic' }],
    [`Bearer realm="${realm}"`, { scheme: 'bearer', realm }],
    [`bearer realm=${realm}`, { scheme: 'bearer', realm }],
    [
      `Bearer realm="${realm}",service="r",scope="repository:a/b:pull,push"`,
      { scheme: 'bearer', realm, service: 'r', scope: 'repository:a/b:pull,push' },
    ],
    [`bearer scope=s , service=r, realm="${realm}"`, { scheme: 'bearer', realm, service: 'r', scope: 's' }],
    [`Bearer realm="${realm}",service="a \\"b\\""`, { scheme: 'bearer', realm, service: 'a "b"' }],
    [`Negotiate, Bearer realm="${realm}"`, { scheme: 'bearer', realm }],
    [['Negotiate', `Bearer realm="${realm}"`], { scheme: 'bearer', realm }],
    [`Bearer realm="${realm}", Basic realm="x"`, { scheme: 'bearer', realm }],
    ['Bearer realm="x", Basic realm="x"', { scheme: 'basic' }],
    ['Bearer', undefined],
    ['Bearer service="r"', undefined],
    ['Bearer realm="not a url"', undefined],
    ['Bearer realm="file:///etc/passwd"', undefined],
    ['Bearer realm=""', undefined],
    [`Bearer realm="${realm}`, undefined],
    [`Bearerrealm="${realm}"`, undefined],
    ['Negotiate', undefined],
    ['Digest realm="x"', undefined],
    [`${' '.repeat(5000)}Basic`, undefined],
    [[], undefined],
    ['', undefined],
  ];
  for (const [header, expected] of rows) {
    it(JSON.stringify(header).slice(0, 100), () => assert.deepEqual(parseChallenge(header), expected));
  }

  it('finds none where there is no header', () => assert.equal(parseChallenge(undefined), undefined));
});
