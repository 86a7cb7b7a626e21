import assert from 'node:assert/strict';
import { createLogger, loggedUrl } from '../../server/log.ts';

describe('loggedUrl()', () => {
  const ROWS: readonly (readonly [string, string])[] = [
    ['/v2/a/manifests/v1', '/v2/a/manifests/v1'],
    ['/v2/a/tags/list?n=1&last=x', '/v2/a/tags/list?n=1&last=x'],
    [
      '/starlight/delta?to=a:1&from=sha256:0&platform=linux%2Famd64',
      '/starlight/delta?to=a:1&from=sha256:0&platform=linux%2Famd64',
    ],
    ['/x?token=secret', '/x?token=[redacted]'],
    ['/x?_state=secret=secret&n=1', '/x?_state=[redacted]&n=1'],
    ['/x?Digest=secret', '/x?Digest=[redacted]'],
    ['/x?a=?b=secret', '/x?a=[redacted]'],
    ['/x?flag', '/x?flag'],
    ['/x?', '/x?'],
    ['/v2/a/blobs/uploads/~c2VjcmV0.mac?digest=d', '/v2/a/blobs/uploads/~…?digest=d'],
  ];
  for (const [url, expected] of ROWS) it(`shows ${url}`, () => assert.equal(loggedUrl(url), expected));
  it('shows no more than a thousand characters or so', () => {
    assert.equal(loggedUrl(`/${'x'.repeat(5000)}`).length, 1024);
    assert.equal(loggedUrl(`/x?n=${'x'.repeat(5000)}`).length, 1024);
  });
});

describe('createLogger()', () => {
  it('hides credentials among headers, at the top and one below', () => {
    const lines: string[] = [];
    const logger = createLogger('info', { write: (line) => void lines.push(line) });
    const headers = { authorization: 'secret', cookie: 'secret', 'set-cookie': 'secret', accept: 'shown' };
    logger.info({ headers, req: { headers } }, 'm');
    const text = lines.join('');
    assert.ok(!text.includes('secret') && text.includes('shown'), text);
  });
  it('keeps quiet below its level', () => {
    const lines: string[] = [];
    createLogger('warn', { write: (line) => void lines.push(line) }).info('m');
    assert.deepEqual(lines, []);
  });
});
