/** What one direction of the link does to packets. A rate of 0 means no limit. */
export type LinkParameters = {
  readonly rateBytesPerMs: number;
  readonly delayMs: number;
  /** The drop-tail queue in front of the bottleneck. */
  readonly queueBytes: number;
};

/** The largest packet that is carried: the MTU is 1500, the rest is room for a larger one. */
const PACKET_LIMIT_BYTES = 2048;
/** Packets on their way at once; further ones are dropped. A power of two. */
const SLOTS = 1 << 15;

/**
 * One direction of a link: a drop-tail queue, a line that serialises at a rate, a delay. Packets leave in the
 * order in which they came. Times are milliseconds of any one clock, always given by the caller.
 *
 *   backlog = what is accepted and not yet serialised; over `queueBytes` a packet is dropped
 *   end     = max(now, end of the packet before) + size / rate;  due = end + delay
 *
 * Memory: one ring of 64 MiB in cells of one size (touched as far as it was filled) and 12 bytes per slot.
 */
export class LinkQueue {
  readonly #ring = new Uint8Array(SLOTS * PACKET_LIMIT_BYTES);
  readonly #due = new Float64Array(SLOTS);
  readonly #size = new Uint32Array(SLOTS);
  #head = 0;
  #tail = 0;
  #lineFreeMs = 0;
  #lastDueMs = 0;
  packets = 0;
  bytes = 0;
  drops = 0;
  maxBacklogBytes = 0;

  /** Packets on their way. */
  get length(): number {
    return this.#tail - this.#head;
  }

  /** When the first packet is due; infinity when there is none. */
  get nextDueMs(): number {
    return this.#head === this.#tail ? Number.POSITIVE_INFINITY : (this.#due[this.#head & (SLOTS - 1)] ?? 0);
  }

  /** Takes in a packet that arrives now, or drops it: false. */
  push(nowMs: number, packet: Uint8Array, sizeBytes: number, link: LinkParameters): boolean {
    let endMs = nowMs;
    if (link.rateBytesPerMs > 0) {
      const startMs = Math.max(nowMs, this.#lineFreeMs);
      const backlogBytes = (startMs - nowMs) * link.rateBytesPerMs + sizeBytes;
      if (backlogBytes > link.queueBytes) return this.#drop();
      endMs = startMs + sizeBytes / link.rateBytesPerMs;
      if (!this.#store(packet, sizeBytes)) return this.#drop();
      this.#lineFreeMs = endMs;
      if (backlogBytes > this.maxBacklogBytes) this.maxBacklogBytes = backlogBytes;
    } else if (!this.#store(packet, sizeBytes)) {
      return this.#drop();
    }
    // after the delay was made shorter, packets still do not overtake one another
    this.#lastDueMs = Math.max(this.#lastDueMs, endMs + link.delayMs);
    this.#due[this.#tail & (SLOTS - 1)] = this.#lastDueMs;
    this.#tail++;
    this.packets++;
    this.bytes += sizeBytes;
    return true;
  }

  /** A view of the first packet, valid until the next `push`; undefined when there is none. */
  peek(): Uint8Array | undefined {
    if (this.#head === this.#tail) return undefined;
    const slot = this.#head & (SLOTS - 1);
    const start = slot * PACKET_LIMIT_BYTES;
    return this.#ring.subarray(start, start + (this.#size[slot] ?? 0));
  }

  /** Removes the first packet. */
  shift(): void {
    if (this.#head !== this.#tail) this.#head++;
  }

  #drop(): false {
    this.drops++;
    return false;
  }

  #store(packet: Uint8Array, sizeBytes: number): boolean {
    if (this.length >= SLOTS || sizeBytes > PACKET_LIMIT_BYTES) return false;
    const slot = this.#tail & (SLOTS - 1);
    this.#ring.set(packet.subarray(0, sizeBytes), slot * PACKET_LIMIT_BYTES);
    this.#size[slot] = sizeBytes;
    return true;
  }
}
