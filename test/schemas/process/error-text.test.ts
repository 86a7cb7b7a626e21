import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { errorText } from '../../../schemas/process/error-text.ts';

describe('errorText()', () => {
  const circle = new Error('round');
  circle.cause = circle;
  const ROWS: readonly (readonly [what: string, error: unknown, text: string])[] = [
    ['an error', new Error('a'), 'a'],
    ['its causes', new Error('a', { cause: new Error('b', { cause: new Error('c') }) }), 'a: b: c'],
    ['a cause that its message quotes', new Error('x: b', { cause: new Error('b') }), 'x: b'],
    ['a cause that is no error', new Error('a', { cause: 'b' }), 'a: b'],
    ['an error without a message', new TypeError(), 'TypeError'],
    ['several without a message', new AggregateError([new Error('a'), new Error('b')]), 'a, b'],
    ['several with one', new AggregateError([new Error('a')], 'both'), 'both'],
    ['causes in a circle', circle, 'round'],
    ['what is no error', 'b', 'b'],
    ['nothing', undefined, ''],
  ];
  for (const [what, error, text] of ROWS) {
    it(`tells ${what}`, () => assert.equal(errorText(error), text));
  }
});
