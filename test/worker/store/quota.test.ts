import assert from 'node:assert/strict';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { type MissingContent, Quota } from '../../../worker/store/quota.ts';
import { type QuotaFigures, StoreError } from '../../../worker/store/store-error.ts';
import { diskBytesOf } from '../../../worker/store/usage-count.ts';

const BLOCK = 4096;
const content = (name: string, sizeBytes = 1): MissingContent => ({ digest: digestOf(name), sizeBytes });

describe('diskBytesOf()', () => {
  const rows: readonly (readonly [number, number])[] = [
    [0, 0],
    [1, BLOCK],
    [BLOCK, BLOCK],
    [BLOCK + 1, 2 * BLOCK],
    [5_000_000_000, 5_000_003_584],
  ];
  for (const [sizeBytes, diskBytes] of rows) {
    it(`${sizeBytes} bytes take up ${diskBytes}`, () => assert.equal(diskBytesOf(sizeBytes), diskBytes));
  }
});

describe('Quota', () => {
  const limits: readonly (readonly [string, number, number, number])[] = [
    ['no limit', 0, 1e15, 0],
    ['room to spare', 10 * BLOCK, 5 * BLOCK, 0],
    ['just room', 10 * BLOCK, 9 * BLOCK, 0],
    ['a byte too much', 10 * BLOCK, 9 * BLOCK + 1, 1],
    ['a store beyond the limit', BLOCK, 5 * BLOCK, 5 * BLOCK],
  ];
  for (const [what, limitBytes, usedBytes, excessBytes] of limits) {
    it(`finds the excess with ${what}`, () => {
      const quota = new Quota(limitBytes);
      quota.reserve([content('a')]);
      assert.equal(quota.excessBytes(usedBytes), excessBytes);
    });
  }

  it('counts a content once that several reservations are for, or one twice', () => {
    const quota = new Quota(1);
    const first = quota.reserve([content('a'), content('b', 5000), content('a')]);
    const second = quota.reserve([content('b', 5000), content('c')]);
    assert.deepEqual([first.addedBytes, second.addedBytes], [3 * BLOCK, BLOCK]);
    assert.equal(quota.reservedBytes, 4 * BLOCK);
  });

  it('keeps what another reservation is for when one is given back', () => {
    const quota = new Quota(1);
    const first = quota.reserve([content('a'), content('b')]);
    const second = quota.reserve([content('b'), content('c')]);
    first.release();
    assert.equal(quota.reservedBytes, 2 * BLOCK);
    second.release();
    assert.equal(quota.reservedBytes, 0);
  });

  it('gives back once however often it is told', () => {
    const quota = new Quota(1);
    const first = quota.reserve([content('a')]);
    quota.reserve([content('a')]);
    first.release();
    first.release();
    assert.equal(quota.reservedBytes, BLOCK);
  });

  it('counts a content no more that has arrived, for whomever', () => {
    const quota = new Quota(1);
    const first = quota.reserve([content('a'), content('b')]);
    const second = quota.reserve([content('b')]);
    quota.arrived(digestOf('b'));
    quota.arrived(digestOf('b'));
    quota.arrived(digestOf('never reserved'));
    assert.equal(quota.reservedBytes, BLOCK);
    first.release();
    second.release();
    assert.equal(quota.reservedBytes, 0);
  });

  it('keeps a content that arrived, went and is reserved anew, whoever gives back the first time', () => {
    const quota = new Quota(1);
    const first = quota.reserve([content('a')]);
    quota.arrived(digestOf('a'));
    const again = quota.reserve([content('a')]);
    first.release();
    assert.equal(quota.reservedBytes, BLOCK);
    again.release();
    assert.equal(quota.reservedBytes, 0);
  });
});

describe('StoreError of kind quota-exceeded', () => {
  const figures: QuotaFigures = {
    neededBytes: 5_000_000,
    limitBytes: 10_000_000,
    usedBytes: 8_000_000,
    reservedBytes: 1_000_000,
    evictableBytes: 2_000_000,
  };
  const rows: readonly (readonly [string, Partial<QuotaFigures>, RegExp])[] = [
    ['how much is needed and how much can be had', {}, /5\.00 MB are needed and 3\.00 MB can be had/],
    ['of what', {}, /of the quota of 10\.0 MB/],
    ['what is in use, and what is on its way', {}, /take up 6\.00 MB, pulls under way will take 1\.00 MB/],
    ['what to do', {}, /remove images .*ctr images rm.* or raise store\.quotaBytes/],
    ['no less than nothing', { usedBytes: 50_000_000 }, /and 0 B can be had/],
  ];
  for (const [what, changes, message] of rows) {
    it(`says ${what}`, () => {
      const error = new StoreError({ kind: 'quota-exceeded', ...figures, ...changes });
      assert.match(error.message, message);
    });
  }
});
