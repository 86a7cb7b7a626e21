import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServerDuplexStream, status } from '@grpc/grpc-js';
import { pino } from 'pino';
import {
  contentService,
  imagesService,
  leasesService,
  type WriteContentMessage,
} from '../../../schemas/proto/containerd.ts';
import { snapshotsService } from '../../../schemas/proto/snapshots.ts';
import { ContainerdClient } from '../../../worker/containerd/client.ts';
import { ContainerdError } from '../../../worker/containerd/containerd-error.ts';
import { registerImage } from '../../../worker/containerd/register-image.ts';
import { type MadeImage, makeImage } from '../../extensions/starlight/made-image.ts';
import { file } from '../../support/tar.ts';

const signal = new AbortController().signal;
const log = pino({ level: 'silent' });
type Call = {
  readonly request: Record<string, unknown>;
  readonly metadata: { get(name: string): unknown[] };
};
type Reply = (error: object | null, answer?: object) => void;

/** What containerd was asked, and a snapshotter that takes (or does not take) remote layers. */
class FakeContainerd {
  readonly calls: {
    readonly name: string;
    readonly request: Record<string, unknown>;
    readonly lease: unknown;
  }[] = [];
  readonly snapshots = new Set<string>();
  readonly blobs = new Map<string, Record<string, string>>();
  remote = true;
  imageExists = false;
  readonly server = new Server();

  constructor() {
    const unary =
      (name: string, answer: (request: Record<string, unknown>) => object) => (call: Call, reply: Reply) => {
        this.calls.push({ name, request: call.request, lease: call.metadata.get('containerd-lease')[0] });
        const result = answer(call.request);
        if ('code' in result) reply(result);
        else reply(null, result);
      };
    const fault = (code: number) => ({ code, details: `code ${code}` });
    this.server.addService(leasesService, {
      Create: unary('lease', () => ({})),
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
          this.calls.push({ name: 'write', request, lease: call.metadata.get('containerd-lease')[0] });
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

  names(): string[] {
    return this.calls.map(({ name }) => name);
  }
}

describe('registerImage()', () => {
  let directory = '';
  let fake: FakeContainerd;
  let client: ContainerdClient;
  let image: MadeImage;

  before(async () => {
    image = await makeImage([[file('a', 'a')], [file('b', 'b')]]);
  });
  beforeEach(async () => {
    directory = mkdtempSync('/tmp/sl-ctrd-');
    fake = new FakeContainerd();
    const address = join(directory, 'c.sock');
    await new Promise<void>((resolve, reject) => {
      fake.server.bindAsync(`unix://${address}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    client = new ContainerdClient({ address, timeoutMs: 5000, retries: 0, retryDelayMs: 1 });
  });
  afterEach(() => {
    client.close();
    fake.server.forceShutdown();
    rmSync(directory, { recursive: true });
  });

  const register = () => {
    const [config] = image.blobs;
    assert.ok(config !== undefined);
    const source = { host: 'registry.example', repository: 'test/app' };
    const { manifest } = image;
    const made = { name: 'registry.example/test/app:v1', source, manifest, config };
    return registerImage(client, 'k8s.io', 'starlight', made, log, signal);
  };
  const labelsOf = (row: number) => fake.blobs.get(image.blobs[row]?.digest ?? '') ?? {};

  it('goes in containerd’s own order, all of it under one lease that is given back', async () => {
    await register();
    const names = fake.names();
    assert.equal(names[0], 'lease');
    assert.equal(names.at(-1), 'unlease');
    assert.deepEqual(
      names.filter((name) => !['stat', 'add'].includes(name)),
      ['lease', 'write', 'write', 'prepare', 'prepare', 'label', 'image', 'unlease'],
    );
    const leases = new Set(fake.calls.slice(1, -1).map((call) => call.lease ?? call.request['id']));
    assert.deepEqual([...leases], [fake.calls[0]?.request['id']]);
    assert.equal(fake.snapshots.size, 2);
  });

  it('sets the labels by which containerd keeps what belongs together', async () => {
    await register();
    const top = [...fake.snapshots].at(-1);
    assert.equal(labelsOf(0)['containerd.io/gc.ref.snapshot.starlight'], top);
    assert.equal(labelsOf(0)['containerd.io/distribution.source.registry.example'], 'test/app');
    const manifest = fake.blobs.get(image.manifest.digest) ?? {};
    assert.equal(manifest['containerd.io/gc.ref.content.config'], image.blobs[0]?.digest);
    assert.equal(manifest['containerd.io/gc.ref.content.l.0'], image.blobs[1]?.digest);
    assert.equal(manifest['containerd.io/gc.ref.content.l.1'], image.blobs[2]?.digest);
  });

  it('does it again without harm', async () => {
    await register();
    fake.imageExists = true;
    fake.calls.length = 0;
    await register();
    assert.equal(fake.names().includes('prepare'), false);
    assert.equal(fake.names().includes('image-update'), true);
  });

  it('says so when the snapshotter wants layers unpacked, and leaves nothing behind', async () => {
    fake.remote = false;
    await assert.rejects(
      register(),
      (error) => error instanceof ContainerdError && error.kind === 'snapshotter',
    );
    assert.equal(fake.snapshots.size, 0);
    assert.equal(fake.names().at(-1), 'unlease');
    assert.equal(fake.names().includes('image'), false);
  });

  it('says that containerd is not there', async () => {
    const options = { address: join(directory, 'none.sock'), timeoutMs: 1000, retries: 1, retryDelayMs: 1 };
    const lost = new ContainerdClient(options);
    await assert.rejects(lost.ping(signal), (error) => {
      assert.ok(error instanceof ContainerdError);
      assert.equal(error.kind, 'unavailable');
      assert.match(error.message, /none\.sock/);
      return true;
    });
    lost.close();
  });
});
