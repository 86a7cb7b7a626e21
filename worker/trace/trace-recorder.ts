import type { DatabaseSync } from 'node:sqlite';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { TraceSink } from '../images/content-demand.ts';
import type { Image } from '../images/image.ts';

/** The first opens of one start of an image, in order; raw paths relative to its root. */
export type Trace = { readonly id: number; readonly opens: readonly Uint8Array[] };

export type ImageTraces = {
  readonly manifestDigest: Digest;
  readonly repository: string;
  readonly host: string;
  readonly traces: readonly Trace[];
};

export type TraceRecorderOptions = {
  readonly db: DatabaseSync;
  readonly on: boolean;
  readonly nowMs: () => number;
};

/** A start that opens more files than this is noted up to here. */
export const MAX_OPENS = 100_000;
/** Opens are written together, this long after the first of them or when there are this many. */
const FLUSH_AFTER_MS = 500;
const FLUSH_COUNT = 512;

type Open = { readonly trace: number; readonly position: number; readonly path: Uint8Array };

/**
 * Records first opens while the optimizer is on, in the worker's database, until they are reported. A trace
 * begins with the first open of a mounted image after mounting, reporting, or turning the optimizer on.
 */
export class TraceRecorder implements TraceSink {
  readonly #db: DatabaseSync;
  readonly #nowMs: () => number;
  #on: boolean;
  /** Traces of an earlier period are over. */
  #period = 0;
  #pending: Open[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TraceRecorderOptions) {
    this.#db = options.db;
    this.#on = options.on;
    this.#nowMs = options.nowMs;
  }

  get on(): boolean {
    return this.#on;
  }

  set on(value: boolean) {
    if (value && !this.#on) this.#period += 1;
    this.#on = value;
  }

  begin(image: Image): (path: Uint8Array) => void {
    let period = -1;
    let trace = 0;
    let position = 0;
    return (path) => {
      if (!this.#on) return;
      if (period !== this.#period) {
        period = this.#period;
        trace = this.#newTrace(image);
        position = 0;
      }
      if (position >= MAX_OPENS) return;
      this.#pending.push({ trace, position, path: Uint8Array.from(path) });
      position += 1;
      if (this.#pending.length >= FLUSH_COUNT) this.flush();
      this.#timer ??= setTimeout(() => this.flush(), FLUSH_AFTER_MS).unref();
    };
  }

  /** Writes what is still in memory. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const pending = this.#pending;
    this.#pending = [];
    if (pending.length === 0) return;
    const insert = this.#db.prepare('INSERT OR IGNORE INTO opens VALUES (?, ?, ?)');
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      for (const { trace, position, path } of pending) insert.run(trace, position, path);
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  /** Ends every trace under way and gives all of them. Opens from now on belong to new ones. */
  collect(): ImageTraces[] {
    this.flush();
    this.#period += 1;
    const images = new Map<string, ImageTraces & { readonly traces: Trace[] }>();
    for (const row of this.#db.prepare('SELECT * FROM traces ORDER BY id').all()) {
      const manifestDigest = String(row['manifest_digest']) as Digest; // written by #newTrace
      const repository = String(row['repository']);
      const host = String(row['host']);
      const key = `${manifestDigest} ${host}/${repository}`;
      const image = images.get(key) ?? { manifestDigest, repository, host, traces: [] };
      images.set(key, image);
      const id = Number(row['id']);
      const opens = this.#db.prepare('SELECT path FROM opens WHERE trace_id = ? ORDER BY position').all(id);
      image.traces.push({ id, opens: opens.map((open) => open['path'] as Uint8Array) }); // a BLOB column
    }
    return [...images.values()];
  }

  /** Forgets traces that have been reported. */
  remove(traces: readonly Trace[]): void {
    const statement = this.#db.prepare('DELETE FROM traces WHERE id = ?');
    for (const trace of traces) statement.run(trace.id);
  }

  #newTrace(image: Image): number {
    const result = this.#db
      .prepare('INSERT INTO traces (manifest_digest, repository, host, started_ms) VALUES (?, ?, ?, ?)')
      .run(image.manifestDigest, image.repository, image.host, this.#nowMs());
    return Number(result.lastInsertRowid);
  }
}
