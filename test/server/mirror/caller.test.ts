import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { callerId } from '../../../server/mirror/caller.ts';

const KEY = Buffer.alloc(32, 1);

describe('callerId()', () => {
  const SAME: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['other programs', ['User-Agent', 'containerd/1.6'], ['User-Agent', 'skopeo', 'Accept', '*/*']],
    ['ranges and conditions', ['Range', 'bytes=0-1', 'If-None-Match', '"e"'], []],
    ['proxies on the way', ['X-Forwarded-For', '10.0.0.1', 'Via', 'a'], []],
    ['the case of a name', ['AUTHORIZATION', 'Bearer t'], ['authorization', 'Bearer t']],
  ];
  for (const [title, a, b] of SAME) {
    it(`does not tell callers apart by ${title}`, () => assert.equal(callerId(a, KEY), callerId(b, KEY)));
  }

  const OTHER: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['having credentials', ['Authorization', 'Bearer t'], []],
    ['their credentials', ['Authorization', 'Bearer t'], ['Authorization', 'Bearer u']],
    ['the case of their credentials', ['Authorization', 'Bearer t'], ['Authorization', 'Bearer T']],
    ['a cookie', ['Cookie', 'a=1'], []],
    ['a header that nobody knows', ['X-JFrog-Art-Api', 'k'], []],
    ['in which header a value stands', ['X-A', 'k'], ['X-B', 'k']],
    ['where a header ends', ['X-A', '1', 'X-A', '2'], ['X-A', '1,2']],
    ['a second Authorization', ['Authorization', 'a', 'Authorization', 'b'], ['Authorization', 'a']],
  ];
  for (const [title, a, b] of OTHER) {
    it(`tells callers apart by ${title}`, () => assert.notEqual(callerId(a, KEY), callerId(b, KEY)));
  }

  it('reveals nothing without the key', () => {
    const headers = ['Authorization', 'Bearer t'];
    assert.notEqual(callerId(headers, KEY), callerId(headers, Buffer.alloc(32, 2)));
    assert.ok(!callerId(headers, KEY).includes('Bearer'));
  });
});
