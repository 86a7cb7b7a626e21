import assert from 'node:assert/strict';
import type { Registry, RegistryAnswer } from '../../../server/registry/registry.ts';
import { TagsPaging } from '../../../server/upstream/tags-paging.ts';
import { LocalApp } from '../../support/local-app.ts';

/** Answers any request with `body`. */
function fixed(body: string, status = 200): Registry {
  const bytes = Buffer.from(body);
  const headers: RegistryAnswer['headers'] = [
    ['Content-Type', 'application/json; charset=utf-8'],
    ['Content-Length', String(bytes.byteLength)],
    ['X-Own', 'kept'],
    ['Link', '</v2/a/tags/list?theirs>; rel="next"'],
  ];
  return { answer: async () => ({ status, headers, body: bytes }) };
}

const list = (...tags: readonly string[]) => JSON.stringify({ name: 'a', tags });

describe('TagsPaging', () => {
  const ROWS: readonly (readonly [string, string, readonly string[], readonly string[]])[] = [
    ['cuts a list longer than was asked for', 'n=2', ['a', 'b', 'c'], ['a', 'b']],
    ['sorts what it cuts', 'n=2', ['c', 'B', 'a'], ['a', 'B']],
    ['begins after the last', 'last=a', ['a', 'b', 'c'], ['b', 'c']],
    ['begins after a last that is gone', 'last=b', ['a', 'c'], ['c']],
    ['does both', 'n=1&last=a', ['a', 'b', 'c'], ['b']],
    ['gives none where none is left', 'last=c', ['a', 'b', 'c'], []],
    ['gives none where none is asked for', 'n=0', ['a'], []],
    ['leaves a page that is one', 'n=2&last=a', ['b', 'c'], ['b', 'c']],
    ['leaves a page where capitals come first', 'last=B', ['C', 'a', 'b'], ['C', 'a', 'b']],
    ['leaves a list where no page was asked for', '', ['b', 'a'], ['b', 'a']],
  ];
  for (const [title, query, tags, expected] of ROWS) {
    it(title, async () => {
      await using app = await LocalApp.start(new TagsPaging(fixed(list(...tags))));
      const answer = await fetch(`${app.url}/v2/a/tags/list?${query}`);
      assert.deepEqual(await answer.json(), { name: 'a', tags: expected });
      assert.equal(answer.headers.get('x-own'), 'kept');
    });
  }

  it('gives all, page by page', async () => {
    const tags = Array.from({ length: 11 }, (_, row) => `t${row}`);
    await using app = await LocalApp.start(new TagsPaging(fixed(list(...tags))));
    const seen: string[] = [];
    for (let path: string | undefined = '/v2/a/tags/list?n=4'; path !== undefined; ) {
      const answer: Response = await fetch(app.url + path);
      seen.push(...((await answer.json()) as { tags: string[] }).tags);
      path = /<([^>]*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    assert.deepEqual(seen, tags.toSorted());
  });

  for (const [title, body, status] of [
    ['an error', '{"errors":[]}', 404],
    ['what is not JSON', '<html>', 200],
    ['another document', '{"tags":"x"}', 200],
  ] as const) {
    it(`passes on ${title} as it is`, async () => {
      await using app = await LocalApp.start(new TagsPaging(fixed(body, status)));
      const answer = await fetch(`${app.url}/v2/a/tags/list?n=1`);
      assert.equal(answer.status, status);
      assert.equal(await answer.text(), body);
    });
  }

  it('takes a list without tags for an empty one', async () => {
    await using app = await LocalApp.start(new TagsPaging(fixed('{"name":"a","tags":null}')));
    const answer = await fetch(`${app.url}/v2/a/tags/list?n=1`);
    assert.deepEqual(await answer.json(), { name: 'a', tags: null });
  });

  it('refuses what is no number', async () => {
    await using app = await LocalApp.start(new TagsPaging(fixed(list('a'))));
    assert.equal((await fetch(`${app.url}/v2/a/tags/list?n=x`)).status, 400);
  });
});
