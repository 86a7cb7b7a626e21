import { createHash, randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import type { BundleCacheLimits } from '../../extensions/starlight/bundle-cache.ts';

/** Every key carries one hash tag, so that a cluster keeps them in one slot and a script may touch them all. */
const PREFIX = '{starlight-bundle}';
const INDEX = `${PREFIX}:index`;
const TOTAL = `${PREFIX}:total`;
const CHUNK_BYTES = 512 * 1024;
/** Chunks asked for in one command: what one answer holds is bounded. */
const CHUNKS_PER_READ = 4;
const MAX_CHUNKS = 4096;

/**
 * Enters a value that has been written, and removes what is beyond the limits, oldest first.
 * KEYS: index, total, head of the new value. ARGV: now, ttl, maxBytes, member, bytes, head's text.
 * A member of the index is "<bytes> <chunks> <head key> <chunk key prefix>"; its score is when it was entered.
 * Entries older than the ttl have expired by themselves and leave the sum.
 */
const ENTER = `
local function drop(member)
  local bytes, chunks, head, prefix = string.match(member, '^(%d+) (%d+) (%S+) (%S+)$')
  redis.call('ZREM', KEYS[1], member)
  redis.call('DECRBY', KEYS[2], bytes)
  local text = redis.call('GET', head)
  if text and string.find(text, prefix, 1, true) then redis.call('DEL', head) end
  for chunk = 0, tonumber(chunks) - 1 do redis.call('DEL', prefix .. chunk) end
end
-- The new one first: written again after its time it is the same member, and its chunks are the new ones.
if redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4]) == 1 then redis.call('INCRBY', KEYS[2], ARGV[5]) end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2], 'LIMIT', 0, 1000)) do drop(member) end
redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[2])
while tonumber(redis.call('GET', KEYS[2]) or '0') > tonumber(ARGV[3]) do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not oldest then redis.call('SET', KEYS[2], 0) break end
  drop(oldest)
end
return 1`;

/** Gives a lock back, if it is still the caller's. */
const UNLOCK = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

export interface RedisStoreOptions extends BundleCacheLimits {
  readonly url: string;
  /** The longest that one command may take, connecting included. */
  readonly commandTimeoutMs: number;
  readonly nowMs: () => number;
}

/**
 * Values in Redis, in chunks. A head names the chunks by the digest of their contents, so that two writers of
 * one key never mix, and a reader either gets a value entire or sees a miss. Every method may throw.
 */
export class RedisStore {
  readonly #options: RedisStoreOptions;
  readonly #redis: Redis;

  constructor(options: RedisStoreOptions, onError: (error: unknown) => void) {
    this.#options = options;
    this.#redis = new Redis(options.url, {
      connectTimeout: options.commandTimeoutMs,
      commandTimeout: options.commandTimeoutMs,
      maxRetriesPerRequest: 0,
      lazyConnect: true,
      keepAlive: 10_000,
      retryStrategy: (attempt) => Math.min(100 * 2 ** Math.min(attempt, 6), 5_000),
    });
    this.#redis.on('error', onError);
  }

  async read(key: string): Promise<Uint8Array | undefined> {
    const head = parseHead(await this.#redis.get(headKey(key)));
    if (head === undefined) return undefined;
    const bytes = Buffer.alloc(head.sizeBytes);
    let at = 0;
    for (let chunk = 0; chunk < head.chunks; chunk += CHUNKS_PER_READ) {
      const names: string[] = [];
      for (let n = chunk; n < Math.min(head.chunks, chunk + CHUNKS_PER_READ); n++)
        names.push(`${head.prefix}${n}`);
      for (const part of await this.#redis.mgetBuffer(...names)) {
        if (part === null || at + part.length > bytes.length) return undefined;
        at += part.copy(bytes, at);
      }
    }
    return at === bytes.length && sha256(bytes) === head.sha256 ? bytes : undefined;
  }

  async write(key: string, bytes: Uint8Array): Promise<void> {
    const { maxBytes, maxValueBytes, ttlMs, nowMs } = this.#options;
    const chunks = Math.ceil(bytes.length / CHUNK_BYTES);
    if (bytes.length > maxValueBytes || bytes.length > maxBytes || chunks > MAX_CHUNKS) return;
    const digest = sha256(bytes);
    const prefix = `${PREFIX}:chunk:${sha256(Buffer.from(key)).slice(0, 32)}:${digest.slice(0, 32)}:`;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const part = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).subarray(
        chunk * CHUNK_BYTES,
        (chunk + 1) * CHUNK_BYTES,
      );
      await this.#redis.set(`${prefix}${chunk}`, part, 'PX', ttlMs);
    }
    const head = `${bytes.length} ${chunks} ${digest} ${prefix}`;
    const member = `${bytes.length} ${chunks} ${headKey(key)} ${prefix}`;
    await this.#redis.eval(
      ENTER,
      3,
      INDEX,
      TOTAL,
      headKey(key),
      nowMs(),
      ttlMs,
      maxBytes,
      member,
      bytes.length,
      head,
    );
  }

  /** @returns a token to give back, or undefined while another has the lock; it ends by itself after `ttlMs`. */
  async lock(key: string, ttlMs: number): Promise<string | undefined> {
    const token = randomUUID();
    return (await this.#redis.set(lockKey(key), token, 'PX', ttlMs, 'NX')) === 'OK' ? token : undefined;
  }

  async unlock(key: string, token: string): Promise<void> {
    await this.#redis.eval(UNLOCK, 1, lockKey(key), token);
  }

  async ping(): Promise<void> {
    await this.#redis.ping();
  }

  close(): void {
    this.#redis.disconnect();
  }
}

const headKey = (key: string) => `${PREFIX}:head:${sha256(Buffer.from(key))}`;
const lockKey = (key: string) => `${PREFIX}:lock:${sha256(Buffer.from(key))}`;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

interface Head {
  readonly sizeBytes: number;
  readonly chunks: number;
  readonly sha256: string;
  readonly prefix: string;
}

/** What stands in Redis is not trusted: anything unexpected is a miss. */
function parseHead(text: string | null): Head | undefined {
  const match = /^(\d{1,10}) (\d{1,4}) ([0-9a-f]{64}) (\{starlight-bundle\}:chunk:[0-9a-f:]+)$/.exec(
    text ?? '',
  );
  if (match === null) return undefined;
  const [, size = '', count = '', digest = '', prefix = ''] = match;
  const head = { sizeBytes: Number(size), chunks: Number(count), sha256: digest, prefix };
  return head.chunks === Math.ceil(head.sizeBytes / CHUNK_BYTES) && head.chunks <= MAX_CHUNKS
    ? head
    : undefined;
}
