import type { ByteColumn } from './layer-toc.ts';

type Column = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** A typed array that grows at the end, for columns whose length is not known before. */
export class GrowingColumn<T extends Column> {
  readonly #make: (length: number) => T;
  #values: T;
  #length = 0;

  constructor(make: (length: number) => T, initialLength = 256) {
    this.#make = make;
    this.#values = make(initialLength);
  }

  get length(): number {
    return this.#length;
  }

  at(index: number): number {
    return this.#values[index] ?? 0;
  }

  set(index: number, value: number): void {
    this.#values[index] = value;
  }

  push(value: number): number {
    if (this.#length === this.#values.length) {
      const grown = this.#make(this.#values.length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#length] = value;
    this.#length += 1;
    return this.#length - 1;
  }

  /** A copy of exactly what was pushed. */
  finish(): T {
    const out = this.#make(this.#length);
    out.set(this.#values.subarray(0, this.#length));
    return out;
  }
}

export const growing = {
  u8: () => new GrowingColumn((length) => new Uint8Array(length)),
  u16: () => new GrowingColumn((length) => new Uint16Array(length)),
  u32: () => new GrowingColumn((length) => new Uint32Array(length)),
  f64: () => new GrowingColumn((length) => new Float64Array(length)),
};

/** Byte strings that are appended one by one. */
export class GrowingBytes {
  readonly #offsets = growing.u32();
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(4096);
  #length = 0;

  constructor() {
    this.#offsets.push(0);
  }

  /** Of all strings together. */
  get byteLength(): number {
    return this.#length;
  }

  push(value: Uint8Array): void {
    const end = this.#length + value.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(value, this.#length);
    this.#length = end;
    this.#offsets.push(end);
  }

  finish(): ByteColumn {
    return { offsets: this.#offsets.finish(), bytes: this.#bytes.slice(0, this.#length) };
  }
}
