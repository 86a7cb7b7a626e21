import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { type Proof, Proofs } from '../../../server/mirror/proofs.ts';
import { type Question, questionOf } from '../../../server/mirror/question.ts';
import { parseEndpoint } from '../../../server/distribution/endpoint.ts';
import { sha256 } from './origin.ts';

const KEY = Buffer.alloc(32, 1);
const PROOF: Proof = { digest: sha256('x'), sizeBytes: 1, headers: [], atMs: 0 };

function question(path: string, rawHeaders: readonly string[] = []): Question {
  const endpoint = parseEndpoint(`/v2/a/${path}`);
  assert.ok(endpoint);
  const found = questionOf(
    {
      ...{ endpoint, method: 'GET', query: new URLSearchParams(), rawQuery: '', headers: {}, rawHeaders },
      ...{ body: Readable.from([]), signal: new AbortController().signal },
    },
    KEY,
  );
  return found ?? assert.fail('no question');
}

describe('Proofs', () => {
  it('holds so many in all, whoever asks for whatever, and forgets what was asked for longest ago', () => {
    const proofs = new Proofs(100);
    const asked = Array.from({ length: 40 }, (_, row) =>
      Array.from({ length: 10 }, (_, who) => question(`manifests/v${row}`, ['X-Key', `${who}`])),
    );
    for (const one of asked.flat()) proofs.set(one, PROOF);
    assert.ok(proofs.size <= 100, `${proofs.size}`);
    const [first, last] = [asked[0]?.[0], asked.at(-1)?.[9]];
    assert.ok(first !== undefined && last !== undefined);
    assert.equal(proofs.get(first), undefined);
    assert.equal(proofs.get(last), PROOF);
  });

  it('counts what is forgotten', () => {
    const proofs = new Proofs(10);
    const two = ['1', '2'].map((who) => question('manifests/v1', ['X-Key', who]));
    for (const one of two) proofs.set(one, PROOF);
    assert.equal(proofs.size, 2);
    for (const [row, one] of two.entries()) {
      proofs.forget(one);
      proofs.forget(one);
      assert.deepEqual([proofs.size, proofs.get(one)], [1 - row, undefined]);
    }
  });

  it('remembers few bytes of whom it knows by many', () => {
    const long = question('manifests/v1', ['Accept', 'x/y, '.repeat(10_000), 'X-Key', 'k'.repeat(50_000)]);
    assert.ok(long.asker.length < 200, `${long.asker.length}`);
    assert.notEqual(long.asker, question('manifests/v1', ['X-Key', 'k'.repeat(50_000)]).asker);
  });
});
