import type { TreeBuffers } from '../../../schemas/toc/tree.ts';
import type { Negotiated } from './init.ts';

/** A mounted tree, numbered by the main thread. */
export type MountId = number;

/** What the main thread tells the responder; each is followed by a write to the waker. */
export type Command =
  | {
      readonly type: 'add';
      readonly mount: MountId;
      /** A /dev/fuse descriptor with O_NONBLOCK. */
      readonly fd: number;
      readonly tree: TreeBuffers;
      readonly directory: string;
      readonly trace: SharedArrayBuffer;
      /** Taken over from another process: no INIT will come, and unanswered requests are asked for again. */
      readonly adopted: boolean;
    }
  | { readonly type: 'answer'; readonly mount: MountId; readonly unique: bigint; readonly arrived: boolean }
  /** Forget the descriptor; `gone` follows, and then it may be closed. */
  | { readonly type: 'remove'; readonly mount: MountId }
  | { readonly type: 'stop' };

/** What the responder tells the main thread. */
export type Report =
  | { readonly type: 'ready'; readonly mount: MountId; readonly negotiated: Negotiated | undefined }
  | { readonly type: 'want'; readonly mount: MountId; readonly unique: bigint; readonly content: number }
  | { readonly type: 'leave'; readonly mount: MountId; readonly unique: bigint }
  | { readonly type: 'opened'; readonly mount: MountId; readonly inode: number }
  | { readonly type: 'fault'; readonly mount: MountId; readonly message: string }
  /** The descriptor is no longer used: removed, or the kernel has ended the connection. */
  | { readonly type: 'gone'; readonly mount: MountId };

/** What the responder thread is started with. */
export interface ResponderStart {
  readonly waker: number;
}
