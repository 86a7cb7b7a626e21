import assert from 'node:assert/strict';
import { pino } from 'pino';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { CRI_LABEL, LabelPulls, type PullStarter } from '../../../worker/images/label-pulls.ts';
import { StoreError } from '../../../worker/store/store-error.ts';

const DIGEST = digestOf('manifest');
const LABELS = { [CRI_LABEL.imageRef]: 'registry.example/a/b:v1', [CRI_LABEL.manifestDigest]: DIGEST };
const SIGNAL = new AbortController().signal;

type Order = Parameters<PullStarter['start']>[0];

describe('LabelPulls', () => {
  let orders: Order[];
  let now: number;
  let answer: () => Promise<unknown>;
  let pulls: LabelPulls;
  beforeEach(() => {
    orders = [];
    now = 1_000_000;
    answer = async () => undefined;
    const start = (order: Order) => {
      orders.push(order);
      return answer();
    };
    const platform = { os: 'linux', architecture: 'amd64' };
    pulls = new LabelPulls({
      downloads: { start },
      platform,
      nowMs: () => now,
      log: pino({ level: 'silent' }),
    });
  });

  it('asks for the manifest that the labels name, by its digest', async () => {
    assert.equal(await pulls.begin(LABELS, SIGNAL), true);
    const platform = { os: 'linux', architecture: 'amd64' };
    const order = {
      host: 'registry.example',
      repository: 'a/b',
      tag: undefined,
      digest: DIGEST,
      platform,
      from: [],
    };
    assert.deepEqual(orders, [order]);
  });

  const foreign: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['no labels', {}],
    ['no reference', { [CRI_LABEL.manifestDigest]: DIGEST }],
    ['no digest', { [CRI_LABEL.imageRef]: 'registry.example/a/b:v1' }],
    ['a malformed digest', { ...LABELS, [CRI_LABEL.manifestDigest]: 'sha256:12' }],
    ['a malformed reference', { ...LABELS, [CRI_LABEL.imageRef]: 'registry.example/UPPER:v1' }],
    ['a reference without host', { ...LABELS, [CRI_LABEL.imageRef]: 'a/b:v1' }],
  ];
  for (const [what, labels] of foreign) {
    it(`asks for nothing with ${what}`, async () => {
      assert.equal(await pulls.begin(labels, SIGNAL), false);
      assert.deepEqual(orders, []);
    });
  }

  it('leaves an image that cannot be had to containerd, and asks again only after a minute', async () => {
    answer = () => Promise.reject(new Error('not converted'));
    assert.equal(await pulls.begin(LABELS, SIGNAL), false);
    assert.equal(await pulls.begin(LABELS, SIGNAL), false);
    assert.equal(orders.length, 1);
    now += 60_001;
    answer = async () => undefined;
    assert.equal(await pulls.begin(LABELS, SIGNAL), true);
    assert.equal(orders.length, 2);
  });

  it('fails the pull of an image for which there is no room', async () => {
    const figures = { neededBytes: 5, limitBytes: 4, usedBytes: 3, reservedBytes: 2, evictableBytes: 1 };
    answer = () => Promise.reject(new StoreError({ kind: 'quota-exceeded', ...figures }));
    await assert.rejects(pulls.begin(LABELS, SIGNAL), /no room in the store/);
    answer = async () => undefined;
    assert.equal(await pulls.begin(LABELS, SIGNAL), true);
  });

  it('does not hold it against the image that containerd went away', async () => {
    const leaving = new AbortController();
    answer = () => new Promise(() => undefined);
    const waiting = pulls.begin(LABELS, leaving.signal);
    leaving.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    answer = async () => undefined;
    assert.equal(await pulls.begin(LABELS, SIGNAL), true);
  });
});
