import { Server, ServerCredentials, type ServerDuplexStream, status } from '@grpc/grpc-js';
import {
  contentService,
  imagesService,
  leasesService,
  type WriteContentMessage,
} from '../../schemas/proto/containerd.ts';
import { snapshotsService } from '../../schemas/proto/snapshots.ts';

type Call = {
  readonly request: Record<string, unknown>;
  readonly metadata: { get(name: string): unknown[] };
};
type Reply = (error: object | null, answer?: object) => void;

/** What containerd was asked, and a snapshotter that takes (or does not take) remote layers. */
export class FakeContainerd {
  readonly calls: {
    readonly name: string;
    readonly request: Record<string, unknown>;
    readonly lease: unknown;
    readonly namespace: unknown;
  }[] = [];
  readonly snapshots = new Set<string>();
  readonly blobs = new Map<string, Record<string, string>>();
  remote = true;
  imageExists = false;
  refusesLeases = false;
  readonly server = new Server();

  constructor() {
    const unary =
      (name: string, answer: (request: Record<string, unknown>) => object) => (call: Call, reply: Reply) => {
        this.#note(name, call);
        const result = answer(call.request);
        if ('code' in result) reply(result);
        else reply(null, result);
      };
    const fault = (code: number) => ({ code, details: `code ${code}` });
    this.server.addService(leasesService, {
      Create: unary('lease', () => (this.refusesLeases ? fault(status.PERMISSION_DENIED) : {})),
      Delete: unary('unlease', () => ({})),
      AddResource: unary('add', () => ({})),
    });
    this.server.addService(imagesService, {
      Create: unary('image', () => (this.imageExists ? fault(status.ALREADY_EXISTS) : {})),
      Update: unary('image-update', () => ({})),
    });
    this.server.addService(snapshotsService, {
      Stat: unary('stat', ({ key }) => (this.snapshots.has(String(key)) ? {} : fault(status.NOT_FOUND))),
      Prepare: unary('prepare', ({ key, labels }) => {
        const ref = (labels as Record<string, string>)['containerd.io/snapshot.ref'];
        this.snapshots.add(this.remote ? (ref ?? '') : String(key));
        return this.remote ? fault(status.ALREADY_EXISTS) : {};
      }),
      Remove: unary('remove', ({ key }) => {
        this.snapshots.delete(String(key));
        return {};
      }),
    });
    this.server.addService(contentService, {
      Update: unary('label', ({ info }) => {
        const { digest, labels } = info as { digest: string; labels: Record<string, string> };
        this.blobs.set(digest, { ...this.blobs.get(digest), ...labels });
        return {};
      }),
      Write: (call: ServerDuplexStream<WriteContentMessage, object>) => {
        call.on('data', (request: WriteContentMessage) => {
          this.#note('write', { request, metadata: call.metadata });
          if (this.blobs.has(request.expected)) call.emit('error', fault(status.ALREADY_EXISTS));
          else {
            this.blobs.set(request.expected, request.labels);
            call.write({ action: 'COMMIT', digest: request.expected });
            call.end();
          }
        });
      },
    });
  }

  async listen(socket: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  }

  names(): string[] {
    return this.calls.map(({ name }) => name);
  }

  #note(name: string, { request, metadata }: Call): void {
    const [lease] = metadata.get('containerd-lease');
    const [namespace] = metadata.get('containerd-namespace');
    this.calls.push({ name, request, lease, namespace });
  }
}
