import { LayerError } from './layer-error.ts';

/** Up to the first NUL, as all text fields of a tar header are. */
export function untilNul(field: Buffer): Buffer {
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

/**
 * A number of a tar header: octal digits between spaces and NULs, or GNU's base 256 (two's complement, first
 * bit set).
 *
 * @throws {LayerError} `tar` when it is neither or cannot be represented exactly.
 */
export function parseTarNumber(field: Buffer): number {
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) return parseBase256(field, first);
  const text = field.toString('latin1').replace(/^[ \0]+|[ \0]+$/g, '');
  if (text === '') return 0;
  const digits = text.split('\0', 1)[0] ?? '';
  if (!/^[0-7]+$/.test(digits)) throw new LayerError('tar', 'a number in a tar header that is not octal');
  return Number.parseInt(digits, 8);
}

function parseBase256(field: Buffer, first: number): number {
  const negative = (first & 0x40) !== 0;
  let value = BigInt(first & 0x3f);
  if (negative) value -= 0x40n;
  for (const byte of field.subarray(1)) value = (value << 8n) | BigInt(byte);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new LayerError('tar', 'a number in a tar header is out of range');
  return number;
}

/** A PAX time: decimal seconds, perhaps negative, perhaps with a fraction, of which nine digits count. */
export function parsePaxTime(text: string): { sec: number; nsec: number } {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (match === null) throw new LayerError('tar', 'a time in a PAX record is malformed');
  const negative = match[1] === '-';
  const sec = Number(match[2]);
  const nsec = Number((match[3] ?? '').padEnd(9, '0').slice(0, 9));
  if (!negative) return { sec, nsec };
  return nsec === 0 ? { sec: 0 - sec, nsec: 0 } : { sec: -sec - 1, nsec: 1_000_000_000 - nsec };
}

/** A PAX integer. @throws {LayerError} `tar` */
export function parsePaxInteger(text: string): number {
  const value = Number(text);
  if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new LayerError('tar', 'a number in a PAX record is malformed');
  }
  return value;
}
