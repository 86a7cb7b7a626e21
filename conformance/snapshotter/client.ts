import {
  type Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import {
  type InfoMessage,
  type LabelsMessage,
  type ListResponse,
  type MountMessage,
  snapshotsService,
  type TimestampMessage,
  type UsageResponse,
} from '../../schemas/proto/snapshots.ts';

/** How long one call may take. */
const CALL_TIMEOUT_MS = 30_000;

export type SnapshotterAddress = {
  /** Unix socket of the daemon, or of containerd itself. */
  readonly socketPath: string;
  /** Which of containerd's snapshotters; a daemon of its own ignores it. */
  readonly snapshotter: string;
  /** containerd's namespace, sent as `containerd-namespace`. */
  readonly namespace: string;
};

/** What an Info says, times as nanoseconds since 1970. */
export type Info = {
  readonly name: string;
  readonly parent: string;
  readonly kind: InfoMessage['kind'];
  readonly labels: LabelsMessage;
  readonly createdNs: bigint;
  readonly updatedNs: bigint;
};

type Unary = (request: object, metadata: Metadata, options: object, done: UnaryDone) => void;
type UnaryDone = (error: ServiceError | null, response: unknown) => void;
type Streaming = (
  request: object,
  metadata: Metadata,
  options: object,
) => AsyncIterable<unknown> & { cancel(): void };

/** A client of the snapshots service; failures are grpc-js ServiceErrors. */
export class SnapshotterClient {
  readonly #client: Client;
  readonly #methods: Record<string, Unary | Streaming>;
  readonly #snapshotter: string;
  readonly #metadata = new Metadata();

  constructor(address: SnapshotterAddress) {
    const { Snapshots } = loadPackageDefinition({ Snapshots: snapshotsService });
    if (typeof Snapshots !== 'function') throw new Error('no client for the snapshots service');
    // containerd refuses grpc-js's default :authority, which is the escaped path of the socket
    const options = { 'grpc.default_authority': 'localhost' };
    this.#client = new Snapshots(`unix:${address.socketPath}`, credentials.createInsecure(), options);
    this.#methods = this.#client as unknown as Record<string, Unary | Streaming>; // made from the definition
    this.#snapshotter = address.snapshotter;
    this.#metadata.set('containerd-namespace', address.namespace);
  }

  async prepare(key: string, parent: string, labels: LabelsMessage): Promise<readonly MountMessage[]> {
    const { mounts } = await this.#call<{ mounts: MountMessage[] }>('Prepare', { key, parent, labels });
    return mounts;
  }

  async view(key: string, parent: string, labels: LabelsMessage): Promise<readonly MountMessage[]> {
    const { mounts } = await this.#call<{ mounts: MountMessage[] }>('View', { key, parent, labels });
    return mounts;
  }

  async mounts(key: string): Promise<readonly MountMessage[]> {
    return (await this.#call<{ mounts: MountMessage[] }>('Mounts', { key })).mounts;
  }

  async commit(name: string, key: string, labels: LabelsMessage): Promise<void> {
    await this.#call('Commit', { name, key, labels });
  }

  async remove(key: string): Promise<void> {
    await this.#call('Remove', { key });
  }

  async stat(key: string): Promise<Info> {
    return infoOf((await this.#call<{ info: InfoMessage }>('Stat', { key })).info);
  }

  /** `parent` is sent to see it ignored. */
  async update(
    name: string,
    change: { readonly labels: LabelsMessage; readonly parent?: string },
    paths: readonly string[] = [],
  ): Promise<Info> {
    const info = { name, ...change };
    const { info: updated } = await this.#call<{ info: InfoMessage }>('Update', {
      info,
      update_mask: { paths },
    });
    return infoOf(updated);
  }

  async usage(key: string): Promise<{ readonly sizeBytes: number; readonly inodes: number }> {
    const { size, inodes } = await this.#call<UsageResponse>('Usage', { key });
    return { sizeBytes: Number(size), inodes: Number(inodes) };
  }

  async cleanup(): Promise<void> {
    await this.#call('Cleanup', {});
  }

  /** The snapshots as they come; to stop taking them ends the call. */
  async *walk(filters: readonly string[]): AsyncGenerator<Info, void, undefined> {
    const method = this.#method<Streaming>('List');
    const stream = method.call(this.#client, this.#request({ filters }), this.#metadata, this.#options());
    try {
      for await (const message of stream) {
        yield* (message as ListResponse).info.map(infoOf); // decoded by the definition
      }
    } finally {
      stream.cancel(); // the caller may have seen enough
    }
  }

  /** May be called twice. */
  close(): void {
    this.#client.close();
  }

  #call<Response>(name: string, fields: object): Promise<Response> {
    const method = this.#method<Unary>(name);
    return new Promise((resolve, reject) => {
      method.call(this.#client, this.#request(fields), this.#metadata, this.#options(), (error, response) => {
        if (error === null)
          resolve(response as Response); // decoded by the definition
        else reject(error);
      });
    });
  }

  #method<Kind extends Unary | Streaming>(name: string): Kind {
    const method = this.#methods[name];
    if (method === undefined) throw new Error(`no method ${name}`);
    return method as Kind; // which kind, the definition says
  }

  #request(fields: object): object {
    return { snapshotter: this.#snapshotter, ...fields };
  }

  #options(): object {
    return { deadline: Date.now() + CALL_TIMEOUT_MS };
  }
}

/** For assert.rejects: a gRPC failure with this status. */
export function failsWith(name: keyof typeof status): (error: unknown) => boolean {
  return (error) => {
    if (error instanceof Error && 'code' in error && error.code === status[name]) return true;
    throw error;
  };
}

function infoOf(message: InfoMessage): Info {
  const { name, parent, kind, labels, created_at, updated_at } = message;
  return { name, parent, kind, labels, createdNs: nsOf(created_at), updatedNs: nsOf(updated_at) };
}

function nsOf(time: TimestampMessage | null): bigint {
  return time === null ? 0n : BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanos);
}
