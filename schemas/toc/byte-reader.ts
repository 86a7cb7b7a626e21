/** What a {@link ByteReader} found; the format that reads makes its own error of it. */
export type ByteFault = 'truncated' | 'malformed' | 'limit';

/**
 * Reads what ByteWriter wrote, within bounds: a count is checked against a limit and against the bytes that
 * are left before anything is allocated for it, a varint has one spelling only.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #error: (fault: ByteFault, message: string) => Error;
  #at = 0;

  /** @param error makes the error that is thrown, of the class of the format being read. */
  constructor(bytes: Uint8Array, error: (fault: ByteFault, message: string) => Error) {
    // Not a Buffer: the slice() of one is no copy.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#error = error;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++] ?? 0;
  }

  u32(): number {
    this.#need(4);
    const bytes = this.#bytes;
    const at = this.#at;
    this.#at = at + 4;
    return (
      ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16)) +
      (bytes[at + 3] ?? 0) * 0x1000000
    );
  }

  u64(): number {
    const low = this.u32();
    const high = this.u32();
    if (high >= 2 ** 21) throw this.#error('malformed', 'a number above 2^53');
    return high * 2 ** 32 + low;
  }

  /** A view, not a copy. */
  bytes(count: number): Uint8Array {
    this.#need(count);
    const from = this.#at;
    this.#at = from + count;
    return this.#bytes.subarray(from, this.#at);
  }

  /** @param max the largest value allowed; at most 2^53 - 1. */
  varint(max: number = Number.MAX_SAFE_INTEGER): number {
    const first = this.#bytes[this.#at];
    if (first !== undefined && first < 128) {
      this.#at += 1;
      if (first > max) throw this.#error('limit', `${first} where ${max} is the most`);
      return first;
    }
    return this.#longVarint(max);
  }

  /** A zigzag varint of at most `magnitude` in absolute value. */
  signed(magnitude: number): number {
    const value = this.varint(magnitude * 2);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /**
   * The number of things that follow.
   *
   * @param max the named limit of what is counted
   * @param bytesEach the least that each of them takes up in what follows
   */
  count(max: number, bytesEach: number): number {
    const value = this.varint(max);
    if (value * bytesEach > this.remaining)
      throw this.#error('truncated', `${value} rows announced, too few bytes`);
    return value;
  }

  /** As many varints as `into` has room for. */
  varints<T extends Uint8Array | Uint16Array | Uint32Array | Float64Array>(into: T, max: number): T {
    for (let i = 0; i < into.length; i += 1) into[i] = this.varint(max);
    return into;
  }

  /** Passes over varints, however they are spelt. */
  skipVarints(count: number): void {
    const bytes = this.#bytes;
    let left = count;
    let at = this.#at;
    for (; left > 0 && at < bytes.length; at += 1) if ((bytes[at] ?? 0) < 128) left -= 1;
    if (left > 0) throw this.#error('truncated', `${left} numbers wanted, none left`);
    this.#at = at;
  }

  /** @throws when anything is left. */
  end(): void {
    if (this.remaining !== 0) throw this.#error('truncated', `${this.remaining} bytes too many`);
  }

  #longVarint(max: number): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i += 1) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (byte === 0 && i > 0) throw this.#error('malformed', 'a number spelt longer than need be');
        if (value > max) throw this.#error('limit', `${value} where ${max} is the most`);
        return value;
      }
      scale *= 128;
    }
    throw this.#error('malformed', 'a number above 2^53');
  }

  #need(count: number): void {
    if (count > this.remaining)
      throw this.#error('truncated', `${count} bytes wanted, ${this.remaining} left`);
  }
}
