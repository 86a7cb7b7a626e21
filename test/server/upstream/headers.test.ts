import assert from 'node:assert/strict';
import { requestHeaders, responseHeaders, withoutCredentials } from '../../../server/upstream/headers.ts';

describe('requestHeaders()', () => {
  const ROWS: readonly (readonly [string, string[], boolean, [string, string][]])[] = [
    [
      'keeps order, case and repetition',
      ['X-b', '1', 'x-A', '2', 'X-b', '3'],
      false,
      [
        ['X-b', '1'],
        ['x-A', '2'],
        ['X-b', '3'],
      ],
    ],
    ['keeps credentials', ['Authorization', 'Basic x'], false, [['Authorization', 'Basic x']]],
    ['keeps the length of a body', ['Content-Length', '3'], true, [['Content-Length', '3']]],
    ['drops the length of none', ['Content-Length', '0'], false, []],
    ['drops the host', ['Host', 'a'], false, []],
    ['drops Expect', ['expect', '100-continue'], true, []],
    [
      'drops headers of the connection',
      [
        'Connection',
        'keep-alive',
        'Keep-Alive',
        'x',
        'TE',
        'trailers',
        'Transfer-Encoding',
        'chunked',
        'Upgrade',
        'h2c',
        'Proxy-Authorization',
        'x',
        'Trailer',
        'x',
      ],
      true,
      [],
    ],
    [
      'drops what Connection names',
      ['Connection', 'X-One , x-two', 'x-one', '1', 'X-Two', '2', 'X-Three', '3'],
      false,
      [['X-Three', '3']],
    ],
    [
      'drops who forwarded it',
      ['X-Forwarded-Host', 'a', 'x-forwarded-proto', 'https', 'Forwarded', 'a', 'X-Real-IP', '1'],
      false,
      [],
    ],
    ["drops the proxy's own token", ['Starlight-Token', 'x'], false, []],
  ];
  for (const [title, raw, hasBody, expected] of ROWS) {
    it(title, () => assert.deepEqual(requestHeaders(raw, hasBody), expected));
  }
});

describe('responseHeaders()', () => {
  it('keeps what is for the client and drops what was for us', () => {
    const headers = [
      ['WWW-Authenticate', 'a'],
      ['WWW-Authenticate', 'b'],
      ['Connection', 'close, X-Hop'],
      ['X-Hop', '1'],
      ['Transfer-Encoding', 'chunked'],
      ['Content-Encoding', 'gzip'],
    ] as const;
    assert.deepEqual(responseHeaders(headers), [headers[0], headers[1], headers[5]]);
  });
});

describe('withoutCredentials()', () => {
  it('drops them in whatever case', () => {
    const headers = [
      ['AUTHORIZATION', 'x'],
      ['cookie', 'x'],
      ['Proxy-Authorization', 'x'],
      ['Range', 'x'],
    ] as const;
    assert.deepEqual(withoutCredentials(headers), [['Range', 'x']]);
  });

  it('takes what nobody knows for one', () => {
    const key = [
      ['X-JFrog-Art-Api', 'x'],
      ['PRIVATE-TOKEN', 'x'],
    ] as const;
    const rest = ['Accept', 'User-Agent', 'If-Range', 'Content-Type', 'Content-Length', 'content-range'];
    const kept = rest.map((name) => [name, 'x'] as const);
    assert.deepEqual(withoutCredentials([...key, ...kept]), kept);
  });
});
