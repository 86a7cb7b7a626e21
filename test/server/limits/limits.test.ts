import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { ClientAddresses, clientKey } from '../../../server/limits/client-address.ts';
import { checkLimits, DEFAULT_LIMITS, type LimitsConfig } from '../../../server/limits/config.ts';
import { RequestRate } from '../../../server/limits/request-rate.ts';

describe('checkLimits()', () => {
  const proxies = (...trustedProxies: string[]) => ({ clientHeader: 'X-Forwarded-For', trustedProxies });
  const BAD: readonly (readonly [what: string, limits: Partial<LimitsConfig>, fault: RegExp])[] = [
    ['a header without proxies', { clientHeader: 'X-Forwarded-For' }, /neither has an effect/],
    ['proxies without a header', { trustedProxies: ['10.0.0.1'] }, /neither has an effect/],
    ['a name for a network', proxies('proxy.example'), /"proxy.example" is neither/],
    ['a network too narrow', proxies('10.0.0.0/33'), /is neither/],
    ['a network of two masks', proxies('10.0.0.0/8/8'), /is neither/],
    ['a network without a mask', proxies('10.0.0.0/'), /is neither/],
    ['a target as long as all headers', { targetBytes: 8_192, headerBytes: 8_192 }, /must be smaller/],
  ];
  for (const [what, limits, fault] of BAD) {
    it(`refuses ${what}`, () => {
      assert.match(checkLimits({ ...DEFAULT_LIMITS, ...limits }).join('\n'), fault);
    });
  }
  it('takes the defaults, and proxies of both families', () => {
    assert.deepEqual(checkLimits(DEFAULT_LIMITS), []);
    assert.deepEqual(checkLimits({ ...DEFAULT_LIMITS, ...proxies('10.0.0.0/8', 'fd00::/8', '::1') }), []);
  });
});

describe('clientKey()', () => {
  const CASES: readonly (readonly [address: string, key: string])[] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ];
  for (const [address, key] of CASES) {
    it(`counts ${address} as ${key}`, () => assert.equal(clientKey(address), key));
  }
});

describe('ClientAddresses', () => {
  const request = (remoteAddress: string, header?: string | string[]) =>
    ({
      socket: { remoteAddress },
      headers: header === undefined ? {} : { 'x-forwarded-for': header },
    }) as unknown as IncomingMessage; // all that is looked at
  const trusting = new ClientAddresses({
    clientHeader: 'X-Forwarded-For',
    trustedProxies: ['10.0.0.0/8', 'fd00::1'],
  });
  const CASES: readonly (readonly [
    what: string,
    peer: string,
    header: string | undefined,
    client: string,
  ])[] = [
    ['the peer itself', '192.0.2.1', undefined, '192.0.2.1'],
    ['the peer, whatever it claims', '192.0.2.1', '198.51.100.7', '192.0.2.1'],
    ['whom a trusted proxy names', '10.0.0.5', '198.51.100.7', '198.51.100.7'],
    [
      'the last in the list, for the client wrote the first',
      '10.0.0.5',
      '203.0.113.1, 198.51.100.7',
      '198.51.100.7',
    ],
    ['the last that is no proxy', '10.0.0.5', '198.51.100.7, 10.1.1.1, 10.2.2.2', '198.51.100.7'],
    ['the first proxy where all are', '10.0.0.5', '10.1.1.1, 10.2.2.2', '10.1.1.1'],
    ['the proxy where it names nobody', '10.0.0.5', undefined, '10.0.0.5'],
    ['what stands behind nonsense', '10.0.0.5', 'nonsense, 10.1.1.1', '10.1.1.1'],
    ['an IPv6 network', 'fd00::1', '2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['a peer mapped to IPv6', '::ffff:10.0.0.5', '198.51.100.7', '198.51.100.7'],
  ];
  for (const [what, peer, header, client] of CASES) {
    it(`counts ${what}`, () => assert.equal(trusting.of(request(peer, header)), client));
  }
  it('believes nobody where no proxy is trusted', () => {
    const alone = new ClientAddresses({ trustedProxies: [] });
    assert.equal(alone.of(request('10.0.0.5', '198.51.100.7')), '10.0.0.5');
  });
});

describe('RequestRate', () => {
  it('lets a burst through, then so many a second, and says when', () => {
    let nowMs = 0;
    const rate = new RequestRate({ perS: 0.5, burst: 3, nowMs: () => nowMs });
    assert.deepEqual(
      [1, 2, 3].map(() => rate.take('a')),
      [undefined, undefined, undefined],
    );
    assert.equal(rate.take('a'), 2);
    assert.equal(rate.take('b'), undefined, 'others are not held up');
    nowMs = 1000;
    assert.equal(rate.take('a'), 1);
    nowMs = 2000;
    assert.equal(rate.take('a'), undefined);
    assert.equal(rate.take('a'), 2);
    nowMs = 3_600_000;
    assert.deepEqual(
      [1, 2, 3, 4].map(() => rate.take('a')),
      [undefined, undefined, undefined, 2],
    );
  });

  it('forgets whom it has not seen for longest, however many come', () => {
    const rate = new RequestRate({ perS: 1, burst: 1, nowMs: () => 0 });
    rate.take('first');
    assert.equal(rate.take('first'), 1);
    for (let row = 0; row < 70_000; row += 1) rate.take(`client ${row}`);
    assert.equal(rate.take('first'), undefined);
    assert.equal(rate.take('client 69999'), 1);
  });
});
