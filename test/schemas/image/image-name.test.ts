import assert from 'node:assert/strict';
import { parseImageName } from '../../../schemas/image/image-name.ts';

describe('parseImageName()', () => {
  const good: readonly (readonly [string, object])[] = [
    ['oci:/tmp/x', { kind: 'layout', directory: '/tmp/x', tag: undefined }],
    ['oci:/tmp/x:v1', { kind: 'layout', directory: '/tmp/x', tag: 'v1' }],
    ['oci:a:b/c', { kind: 'layout', directory: 'a:b/c', tag: undefined }],
    ['r.example/a:v', { kind: 'registry', reference: { host: 'r.example', name: 'a', tag: 'v' } }],
    [
      'docker://r.example:5000/a',
      { kind: 'registry', reference: { host: 'r.example:5000', name: 'a', tag: 'latest' } },
    ],
  ];
  for (const [text, expected] of good) {
    it(text, () => assert.deepEqual(parseImageName(text), expected));
  }
  const bad = [
    '',
    'redis:7',
    'oci:',
    'oci::tag',
    'oci:x:',
    'oci:x:-bad',
    'docker://',
    'r.example/UPPER',
    'r.example/a@b',
    'dir:/tmp',
  ];
  for (const text of bad) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseImageName(text), { name: 'ImageError', kind: 'invalid-name' });
    });
  }
});
