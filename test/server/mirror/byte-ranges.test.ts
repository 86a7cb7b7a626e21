import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'mocha';
import { MAX_RANGES, parseRanges } from '../../../server/mirror/byte-ranges.ts';
import { multipart } from '../../../server/mirror/multipart.ts';

describe('parseRanges()', () => {
  type Row = readonly [header: string | undefined, expected: readonly (readonly [number, number])[] | string];
  const ROWS: readonly Row[] = [
    [undefined, 'whole'],
    ['bytes=0-9', [[0, 9]]],
    [
      'bytes=0-9,20-29',
      [
        [0, 9],
        [20, 29],
      ],
    ],
    [
      'bytes=20-29, 0-9',
      [
        [20, 29],
        [0, 9],
      ],
    ],
    [
      'bytes=0-0,-1',
      [
        [0, 0],
        [99, 99],
      ],
    ],
    ['bytes=0-9,500-600', [[0, 9]]],
    ['bytes=90-', [[90, 99]]],
    ['bytes=500-600', 'unsatisfiable'],
    ['bytes=500-600,700-', 'unsatisfiable'],
    ['bytes=0-9,9-20', 'whole'],
    ['bytes=0-,0-,0-', 'whole'],
    ['bytes=0-9,x', 'whole'],
    ['bytes=0-9,', 'whole'],
    ['bytes=', 'whole'],
    ['lines=0-9', 'whole'],
    [`bytes=${Array.from({ length: MAX_RANGES + 1 }, () => '0-0').join(',')}`, 'whole'],
  ];
  for (const [header, expected] of ROWS) {
    it(`reads ${header?.slice(0, 40)} of 100 bytes`, () => {
      const read = parseRanges(header, 100);
      assert.deepEqual(
        typeof read === 'string' ? read : read.map(({ start, end }) => [start, end]),
        expected,
      );
    });
  }
});

describe('multipart()', () => {
  it('writes parts as RFC 9110 has them, with the size told', async () => {
    const ranges = [
      { start: 0, end: 1 },
      { start: 5, end: 7 },
    ];
    const parts = multipart(ranges, 10, 'text/plain', 'B');
    const all = await Array.fromAsync(
      parts.body(async (start, end) => Readable.from([Buffer.from('0123456789'.slice(start, end))])),
    );
    const text = Buffer.concat(all as Buffer[]).toString();
    const head = (range: string) =>
      `\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes ${range}/10\r\n\r\n`;
    assert.equal(text, `${head('0-1')}01${head('5-7')}567\r\n--B--\r\n`);
    assert.equal(parts.sizeBytes, text.length);
    assert.equal(parts.contentType, 'multipart/byteranges; boundary=B');
  });
});
