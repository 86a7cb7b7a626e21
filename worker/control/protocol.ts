import { type Static, Type } from '@sinclair/typebox';
import type { DownloadCounts } from '../download/image-download.ts';

/**
 * What the command line and the daemon say to each other: HTTP over a Unix socket, JSON bodies; a pull's
 * answer is one JSON document per line (NDJSON) and ends with exactly one of `ready`, `complete`, `error`.
 */

export const PullRequestSchema = Type.Object(
  {
    /** An image reference with its host, as containerd will know the image. */
    reference: Type.String({ maxLength: 512 }),
    /** References or `name@digest` of images at hand to take contents from; what the daemon holds is added by itself. */
    from: Type.Optional(Type.Array(Type.String({ maxLength: 512 }), { maxItems: 64 })),
    /** `os/architecture[/variant]`; the machine's own by default. */
    platform: Type.Optional(Type.String({ maxLength: 64 })),
    /** containerd's namespace. */
    namespace: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,75}$' })),
    /** true: the answer ends when every content has arrived; false: as soon as a container can be started. */
    wait: Type.Optional(Type.Boolean()),
    /** `user:password` for the registry, used for this pull alone; the daemon's docker config otherwise. */
    credentials: Type.Optional(Type.String({ maxLength: 8192 })),
  },
  { additionalProperties: false },
);
export type PullRequest = Static<typeof PullRequestSchema>;

export type PullCounts = DownloadCounts;

export type PullEvent =
  /** The metadata is verified. */
  | ({
      readonly event: 'header';
      readonly manifestDigest: string;
      readonly platform: string;
      readonly unknownFrom: readonly string[];
    } & PullCounts)
  /** The image and its snapshots are in containerd: a container can be started. */
  | ({ readonly event: 'ready'; readonly manifestDigest: string; readonly elapsedMs: number } & PullCounts)
  | ({ readonly event: 'progress' } & PullCounts)
  /** Everything is on the disk. */
  | ({ readonly event: 'complete'; readonly manifestDigest: string; readonly elapsedMs: number } & PullCounts)
  /** Something that was overcome, and that a person would want to know. */
  | { readonly event: 'warning'; readonly message: string }
  | { readonly event: 'error'; readonly code: string; readonly message: string };

/** The body of every failed request other than a pull under way, with status 4xx or 5xx. */
export interface ControlErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

/** GET /v1/status */
export interface StatusBody {
  readonly version: string;
  readonly driver: string;
  readonly proxy: string;
  readonly optimizer: boolean;
  /** Whether new containers of complete images read without the daemon; if not, why. */
  readonly completeForm: { readonly usable: boolean; readonly reason?: string };
  /** Bytes are those on the disk. */
  readonly store: {
    readonly contents: number;
    readonly bytes: number;
    /** What `bytes` and `reservedBytes` may be together; 0 for no limit. */
    readonly quotaBytes: number;
    /** What contents on their way will take up. */
    readonly reservedBytes: number;
    /** What would be free without the images that nothing needs. */
    readonly evictableBytes: number;
  };
  readonly images: readonly ({
    readonly reference: string;
    readonly manifestDigest: string;
    readonly platform: string;
    readonly state: 'pulling' | 'complete' | 'failed';
    readonly error?: string;
    readonly namespaces: readonly string[];
    /** How new snapshots are mounted: served by the daemon, or complete; `building` is served until it is written and checked. */
    readonly form: 'served' | 'building' | 'complete';
    /** Whether a snapshot uses it. */
    readonly mounted: boolean;
    /** Nothing needs it: it goes when there must be room, or with the next collection. */
    readonly evictable: boolean;
  } & PullCounts)[];
}

/** GET /v1/version */
export interface VersionBody {
  readonly version: string;
  readonly node: string;
}

/** POST /v1/optimizer {on} */
export const OptimizerRequestSchema = Type.Object({ on: Type.Boolean() }, { additionalProperties: false });
export interface OptimizerBody {
  readonly on: boolean;
}

/** POST /v1/report */
export interface ReportBody {
  readonly images: readonly {
    readonly reference: string;
    readonly opens: number;
    readonly accepted: number;
  }[];
}

/** POST /v1/gc */
export interface GcBody {
  readonly removedContents: number;
  /** On the disk. */
  readonly removedBytes: number;
  readonly removedImages: number;
  /** Why containerd could not be asked first to give up what it no longer needs. */
  readonly containerdError?: string;
}

/** GET /v1/ping: the daemon answers itself; `proxy` says whether its proxy and containerd did. */
export interface PingBody {
  readonly daemon: 'ok';
  readonly proxy: {
    readonly url: string;
    readonly ok: boolean;
    readonly elapsedMs: number;
    readonly error?: string;
  };
  readonly containerd: { readonly address: string; readonly ok: boolean; readonly error?: string };
}
