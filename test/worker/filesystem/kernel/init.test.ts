import assert from 'node:assert/strict';
import { negotiate } from '../../../../worker/filesystem/kernel/init.ts';

interface Offer {
  readonly major: number;
  readonly minor: number;
  readonly readahead?: number;
  readonly flags?: number;
  readonly flags2?: number;
}

function offer({ major, minor, readahead = 131_072, flags = 0, flags2 = 0 }: Offer): Buffer {
  const request = Buffer.alloc(104);
  request.writeUInt32LE(major, 40);
  request.writeUInt32LE(minor, 44);
  request.writeUInt32LE(readahead, 48);
  request.writeUInt32LE(flags >>> 0, 52);
  request.writeUInt32LE(flags2 >>> 0, 56);
  return request;
}

const REFUSED: readonly Offer[] = [
  { major: 7, minor: 30 },
  { major: 7, minor: 8 },
  { major: 6, minor: 45 },
  { major: 8, minor: 0 },
  { major: 0, minor: 0 },
];

describe('negotiate()', () => {
  for (const refused of REFUSED) {
    it(`refuses protocol ${refused.major}.${refused.minor}`, () => {
      assert.equal(negotiate(offer(refused), Buffer.alloc(80)), undefined);
    });
  }

  it('takes what it knows of all that a new kernel offers', () => {
    const reply = Buffer.alloc(80, 0xff);
    const got = negotiate(offer({ major: 7, minor: 99, flags: 0xffffffff, flags2: 0xffffffff }), reply);
    assert.deepEqual(got, { minor: 45, flags: 0x43e46011, flags2: 0x180 });
    assert.deepEqual([reply.readUInt32LE(16), reply.readUInt32LE(20)], [7, 45]);
    assert.equal(reply.readUInt32LE(28), 0x43e46011);
    assert.equal(reply.readUInt32LE(36), 4096, 'max_write');
    assert.equal(reply.readUInt32LE(40), 1, 'nanoseconds');
    assert.equal(reply.readUInt16LE(44), 256, 'pages');
    assert.equal(reply.readUInt32LE(48), 0x180);
    assert.ok(reply.subarray(52, 80).every((byte) => byte === 0));
  });

  it('takes nothing that is not offered, and flags2 only with INIT_EXT', () => {
    const reply = Buffer.alloc(80);
    const got = negotiate(
      offer({ major: 7, minor: 31, readahead: 4096, flags: 1, flags2: 0xffffffff }),
      reply,
    );
    assert.deepEqual(got, { minor: 31, flags: 1, flags2: 0 });
    assert.equal(reply.readUInt32LE(24), 4096, 'no more read-ahead than offered');
  });
});
