import assert from 'node:assert/strict';
import { repositoryName } from '../../../server/registry/repository-name.ts';
import { UploadLocations } from '../../../server/upstream/upload-location.ts';

const NAME = repositoryName('a/b') ?? assert.fail();
const OTHER = repositoryName('a/c') ?? assert.fail();
const ORIGIN = 'http://up.test:5000';
const REQUEST = new URL(`${ORIGIN}/v2/a/b/blobs/uploads/`);
const locations = new UploadLocations(ORIGIN, Buffer.alloc(32, 1));

function sessionOf(path: string): string {
  return path.split('/').at(-1) ?? '';
}

describe('UploadLocations.toClient()', () => {
  const PLAIN: readonly (readonly [string, string])[] = [
    [`${ORIGIN}/v2/a/b/blobs/uploads/u?_state=x%2F`, '/v2/a/b/blobs/uploads/u?_state=x%2F'],
    ['/v2/a/b/blobs/uploads/u', '/v2/a/b/blobs/uploads/u'],
    ['u?x=1', '/v2/a/b/blobs/uploads/u?x=1'],
  ];
  for (const [location, expected] of PLAIN) {
    it(`leaves ${location} legible`, () =>
      assert.equal(locations.toClient(NAME, location, REQUEST), expected));
  }

  const WRAPPED: readonly string[] = [
    'https://store.test/put?sig=a%2Bb&x=1',
    `${ORIGIN}/uploads/u?x=1`,
    '/v2/other/blobs/uploads/u',
    '/v2/A/blobs/uploads/u',
    'https://up.test:5000/v2/a/b/blobs/uploads/u',
    '/v2/a/b/blobs/uploads/~forged.mac',
  ];
  for (const location of WRAPPED) {
    it(`wraps ${location} and finds it again`, () => {
      const path = locations.toClient(NAME, location, REQUEST) ?? '';
      assert.match(path, /^\/v2\/a\/b\/blobs\/uploads\/~[\w-]+\.[\w-]+$/);
      assert.equal(locations.toUpstream(NAME, sessionOf(path), '')?.href, new URL(location, REQUEST).href);
      const withDigest = locations.toUpstream(NAME, sessionOf(path), 'digest=d');
      assert.equal(withDigest?.searchParams.get('digest'), 'd');
    });
  }

  describe('from an upstream by HTTPS', () => {
    const secured = new UploadLocations('https://up.test', Buffer.alloc(32, 1));
    const request = new URL('https://up.test/v2/a/b/blobs/uploads/');

    it('takes plain HTTP to itself for HTTPS', () => {
      const own = 'http://up.test/v2/a/b/blobs/uploads/u?x=1';
      assert.equal(secured.toClient(NAME, own, request), '/v2/a/b/blobs/uploads/u?x=1');
      const odd = secured.toClient(NAME, 'http://up.test/odd?x=1', request) ?? '';
      assert.equal(secured.toUpstream(NAME, sessionOf(odd), '')?.href, 'https://up.test/odd?x=1');
    });

    for (const location of ['http://store.test/put', 'http://up.test:8080/v2/a/b/blobs/uploads/u']) {
      it(`has no place for ${location}, unless that is allowed`, () => {
        assert.equal(secured.toClient(NAME, location, request), undefined);
        const allowing = new UploadLocations('https://up.test', Buffer.alloc(32, 1), true);
        assert.match(allowing.toClient(NAME, location, request) ?? '', /~/);
      });
    }
  });

  for (const location of ['file:///etc/passwd', 'http://', 'ftp://x/']) {
    it(`has no place for ${location}`, () =>
      assert.equal(locations.toClient(NAME, location, REQUEST), undefined));
  }
});

describe('UploadLocations.toUpstream()', () => {
  const session = sessionOf(locations.toClient(NAME, 'https://store.test/x', REQUEST) ?? '');
  const evil = Buffer.from('http://169.254.169.254/').toString('base64url');
  const FORGED: readonly (readonly [string, string])[] = [
    ['another URL with the MAC of a good one', `~${evil}.${session.split('.')[1]}`],
    ['no MAC', `~${evil}`],
    ['an empty MAC', `~${evil}.`],
    ['a short MAC', session.slice(0, -1)],
    ['a long MAC', `${session}A`],
    ['no URL', '~.x'],
    ['nothing', '~'],
    ['an ordinary session', 'u-1'],
    [
      'a session of another process',
      sessionOf(
        new UploadLocations(ORIGIN, Buffer.alloc(32, 2)).toClient(NAME, 'https://store.test/x', REQUEST) ??
          '',
      ),
    ],
    ['a session too long', `~${'A'.repeat(5000)}.x`],
  ];
  for (const [title, text] of FORGED) {
    it(`refuses ${title}`, () => assert.equal(locations.toUpstream(NAME, text, ''), undefined));
  }
  it('refuses a session of another repository', () =>
    assert.equal(locations.toUpstream(OTHER, session, ''), undefined));
});
