import assert from 'node:assert/strict';
import {
  type BundlePlan,
  bundleBytes,
  decodePlan,
  encodePlan,
  etagOf,
} from '../../../extensions/starlight/bundle-plan.ts';
import { payloadPlan } from '../../../extensions/starlight/payload-plan.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';

const plan: BundlePlan = {
  question: 'key',
  header: Buffer.from('the header'),
  unknownFrom: ['a/b@sha256:1'],
  payloads: payloadPlan(
    [
      { name: 'a', digest: digestOf('a') },
      { name: 'b', digest: digestOf('b') },
    ],
    Uint32Array.of(0, 1, 1),
    Float64Array.of(10, 2 ** 40, 0),
    Float64Array.of(5, 7, 9),
  ),
};
const good = Buffer.from(encodePlan(plan));

describe('decodePlan()', () => {
  it('gives back what encodePlan() wrote', () => {
    const found = decodePlan(good);
    assert.ok(found !== undefined);
    assert.deepEqual(found.payloads, plan.payloads);
    assert.equal(found.question, plan.question);
    assert.deepEqual(found.unknownFrom, plan.unknownFrom);
    assert.ok(Buffer.from(found.header).equals(plan.header));
    assert.equal(etagOf(found), etagOf(plan));
    assert.equal(bundleBytes(found), 10 + 21);
  });

  it('reads from anywhere in a larger buffer', () => {
    for (let at = 0; at < 9; at++) {
      const shifted = Buffer.concat([Buffer.alloc(at), good, Buffer.alloc(3)]).subarray(at, at + good.length);
      assert.deepEqual(decodePlan(shifted)?.payloads, plan.payloads);
    }
  });

  const changed = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  const BAD: readonly (readonly [what: string, bytes: Uint8Array])[] = [
    ['nothing', Buffer.alloc(0)],
    ['another version', changed((bytes) => bytes.writeUInt32LE(9, 0))],
    ['a longer JSON part', changed((bytes) => bytes.writeUInt32LE(1e6, 4))],
    ['a longer header', changed((bytes) => bytes.writeUInt32LE(1e6, 8))],
    ['more rows', changed((bytes) => bytes.writeUInt32LE(4, 12))],
    ['JSON that is none', changed((bytes) => bytes.write('x', 16))],
    ['a source that there is not', changed((bytes) => bytes.writeUInt32LE(2, bytes.length - 60))],
    ['a length below zero', changed((bytes) => bytes.writeDoubleLE(-1, bytes.length - 8))],
    ['a length that is no whole number', changed((bytes) => bytes.writeDoubleLE(0.5, bytes.length - 8))],
    ['one byte less', good.subarray(0, -1)],
    ['one byte more', Buffer.concat([good, Buffer.alloc(1)])],
  ];
  for (const [what, bytes] of BAD) {
    it(`answers undefined for ${what}`, () => {
      assert.equal(decodePlan(bytes), undefined);
    });
  }
});
