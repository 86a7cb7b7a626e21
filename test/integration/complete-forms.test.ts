import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { run } from '../../scripts/lib/child.ts';
import { unmountBelow } from '../../scripts/lib/mounts.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { encodeImageToc } from '../../schemas/toc/image-toc.ts';
import { CompleteForms } from '../../worker/complete/complete-forms.ts';
import { Catalogue } from '../../worker/images/catalogue.ts';
import { DocumentFiles } from '../../worker/images/document-files.ts';
import type { Image } from '../../worker/images/image.ts';
import type { ImageMount } from '../../worker/snapshotter/remote-images.ts';
import { ContentStore } from '../../worker/store/content-store.ts';
import { skip } from '../support/skip.ts';
import { keyOf, NEVER } from '../support/snapshotter-home.ts';
import { layerOf } from '../support/toc-entries.ts';

const POLL_MS = 20;
const POLL_LIMIT_MS = 60_000;
const KEY = keyOf('test/1/container');
const TEXTS = {
  lower: 'in the lower layer',
  hidden: 'hidden by the upper layer',
  upper: 'in the upper layer',
};
// any digests will do as chainIDs
const [LOWER, TOP] = [digestOf('lower') as ChainId, digestOf('top') as ChainId];

/** The parts of a daemon that complete forms stand on, which can be closed and opened again. */
class Home implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'sl-forms-'));
  readonly warnings: string[] = [];
  #parts:
    | { catalogue: Catalogue; store: ContentStore; documents: DocumentFiles; forms: CompleteForms }
    | undefined;

  static async open(): Promise<Home> {
    const home = new Home();
    await home.start();
    return home;
  }

  get parts() {
    if (this.#parts === undefined) throw new Error('the home is closed');
    return this.#parts;
  }

  get forms(): CompleteForms {
    return this.parts.forms;
  }

  get directory(): string {
    return join(this.root, 'complete');
  }

  async start(enabled = true): Promise<void> {
    const { root } = this;
    const catalogue = new Catalogue(join(root, 'images.db'));
    const store = await ContentStore.open(root, { fsync: 'none' });
    const documents = await DocumentFiles.open(root);
    const write = (line: string): void => {
      const { level, msg } = JSON.parse(line) as { level: number; msg: string }; // pino's own
      if (level >= 40) this.warnings.push(msg);
    };
    const log = pino({ level: 'info' }, { write });
    const storeDirectory = store.directory;
    const nowMs = Date.now;
    const forms = await CompleteForms.open({
      root,
      catalogue,
      documents,
      storeDirectory,
      enabled,
      nowMs,
      log,
    });
    this.#parts = { catalogue, store, documents, forms };
  }

  async stop(leaveMounted = true): Promise<void> {
    const { forms, store, catalogue } = this.parts;
    this.#parts = undefined;
    await forms.close({ leaveMounted });
    store.close();
    catalogue.close();
  }

  /** An image of two layers, known and not complete; nothing is in the store. */
  async register(): Promise<Image> {
    const layers = [
      layerOf([
        ['file', 'lower', { content: TEXTS.lower }],
        ['file', 'both', { content: TEXTS.hidden }],
      ]),
      layerOf([['file', 'both', { content: TEXTS.upper }]]),
    ];
    const toc = encodeImageToc(layers);
    const tocDigest = digestOf(toc);
    await this.parts.documents.put(tocDigest, toc);
    const layer = (chainId: ChainId) => ({
      ...{ digest: digestOf(chainId), diffId: digestOf(chainId), chainId },
      ...{ sizeBytes: 1, contentBytes: 1, entries: 1 },
    });
    const image: Image = {
      ...{ manifestDigest: digestOf('manifest'), configDigest: digestOf('config'), tocDigest },
      ...{ host: 'r.example', repository: 'a/b', platform: 'linux/amd64' },
      layers: [layer(LOWER), layer(TOP)],
    };
    this.parts.catalogue.register(image, { contentsTotal: 2, bytesTotal: 9 }, 'boot', 1);
    return image;
  }

  async arrive(...texts: readonly string[]): Promise<void> {
    for (const text of texts) {
      const bytes = Buffer.from(text);
      await this.parts.store.write(digestOf(bytes), bytes.length, bytes, NEVER);
    }
  }

  /** The image, with the form of its topmost layer. */
  async complete(): Promise<Image> {
    const image = await this.register();
    await this.arrive(TEXTS.lower, TEXTS.upper);
    this.parts.catalogue.setComplete(image.manifestDigest);
    await until('the form is written', () => this.forms.stateOf(image) === 'complete');
    return image;
  }

  /** Files and mountpoints of forms. */
  async left(): Promise<string[]> {
    return (await readdir(this.directory)).filter((name) => name !== 'tmp');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#parts !== undefined) await this.stop();
    await unmountBelow(this.root);
    await rm(this.root, { recursive: true, force: true });
  }
}

async function until(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + POLL_LIMIT_MS;
  while (!(await test())) {
    assert.ok(Date.now() < end, `not within ${POLL_LIMIT_MS} ms: ${what}`);
    await delay(POLL_MS);
  }
}

describe('CompleteForms', function () {
  this.timeout(120_000);
  let home: Home;

  before(async function () {
    await using probe = await Home.open();
    if (!probe.forms.support.usable) skip(this, probe.forms.support.reason);
  });
  beforeEach(async () => {
    home = await Home.open();
  });
  afterEach(async () => home[Symbol.asyncDispose]());

  async function mount(chainId = TOP): Promise<ImageMount> {
    const { support } = home.forms;
    assert.ok(support.usable);
    return home.forms.mount(chainId, KEY, support.form, NEVER);
  }

  /** What a container over the form reads. */
  async function read({ form, lowers, dataLowers }: ImageMount, name: string): Promise<string> {
    const merged = mkdtempSync(join(home.root, 'merged-'));
    const options = form === 'complete-metacopy' ? 'metacopy=on,redirect_dir=on,' : '';
    const lowerdir = `${lowers.join(':')}::${dataLowers.join('::')}`;
    await run('mount', ['-t', 'overlay', 'overlay', '-o', `${options}lowerdir=${lowerdir}`, merged]);
    try {
      return readFileSync(join(merged, name), 'utf8');
    } finally {
      await run('umount', [merged]);
    }
  }

  it('are offered once their image is complete and they are written, and not before', async () => {
    const image = await home.register();
    home.forms.requestAll();
    assert.equal(home.forms.stateOf(image), 'served');
    assert.equal(home.forms.offer(TOP), undefined);
    await home.arrive(TEXTS.lower, TEXTS.upper);
    home.parts.catalogue.setComplete(image.manifestDigest);
    assert.equal(home.forms.stateOf(image), 'building');
    await until('it is written', () => home.forms.stateOf(image) === 'complete');
    const mounted = await mount();
    assert.equal(await read(mounted, 'both'), TEXTS.upper);
    assert.equal(await read(mounted, 'lower'), TEXTS.lower);
    assert.deepEqual(home.warnings, []);
  });

  it('of a lower layer wait for what only that layer shows', async () => {
    await home.complete();
    home.forms.request(LOWER);
    await until('it is refused', () => home.warnings.length === 1);
    assert.equal(home.forms.offer(LOWER), undefined);
    assert.ok(!(await home.left()).includes(`${digestHex(LOWER)}.erofs`));
    await home.arrive(TEXTS.hidden);
    await until('it is written', () => {
      home.forms.request(LOWER);
      return home.forms.offer(LOWER) !== undefined;
    });
    assert.equal(await read(await mount(LOWER), 'both'), TEXTS.hidden);
  });

  it('are mounted while a snapshot needs them', async () => {
    const image = await home.complete();
    const mounted = await mount();
    assert.deepEqual(await mount(), mounted);
    assert.ok(home.forms.isMounted(image));
    await home.forms.unmount(TOP, KEY);
    assert.ok(!home.forms.isMounted(image));
    assert.deepEqual(await home.left(), [`${digestHex(TOP)}.erofs`]);
  });

  it('stay mounted over a restart, or not when that is wanted', async () => {
    await home.complete();
    const [mountpoint] = (await mount()).lowers;
    assert.ok(mountpoint !== undefined);
    const device = (await run('stat', ['-c', '%d', mountpoint])).trim();
    await home.stop();
    assert.equal((await run('stat', ['-c', '%d', mountpoint])).trim(), device);
    await home.start();
    assert.equal(await read(await mount(), 'both'), TEXTS.upper);
    assert.equal((await run('stat', ['-c', '%d', mountpoint])).trim(), device, 'not mounted anew');
    await home.stop(false);
    assert.deepEqual(
      (await home.left()).filter((name) => !name.endsWith('.erofs')),
      [],
    );
  });

  const DAMAGES: readonly (readonly [string, (path: string) => void])[] = [
    ['a flipped byte', (path) => writeFileSync(path, flipped(readFileSync(path)))],
    ['a lost end', (path) => writeFileSync(path, readFileSync(path).subarray(0, 4096 - 1))],
    ['no bytes', (path) => writeFileSync(path, '')],
  ];
  for (const [title, damage] of DAMAGES) {
    it(`are written anew and not mounted when the file has ${title}`, async () => {
      await home.complete();
      await home.stop();
      const path = join(home.directory, `${digestHex(TOP)}.erofs`);
      const intact = readFileSync(path);
      damage(path);
      await home.start();
      assert.equal(await read(await mount(), 'both'), TEXTS.upper);
      assert.deepEqual(readFileSync(path), intact);
      assert.match(home.warnings.join('\n'), /damaged/);
    });
  }

  it('are written anew when the file is gone', async () => {
    await home.complete();
    await home.stop();
    await rm(join(home.directory, `${digestHex(TOP)}.erofs`));
    await home.start();
    assert.equal(await read(await mount(), 'both'), TEXTS.upper);
  });

  it('cannot be had when the file and a content are gone', async () => {
    await home.complete();
    await home.stop();
    await rm(join(home.directory, `${digestHex(TOP)}.erofs`));
    await home.start();
    home.parts.store.delete(digestOf(TEXTS.upper));
    await assert.rejects(mount(), /1 contents are not in the store/);
    assert.deepEqual(await home.left(), []);
  });

  it('are offered after a restart once they are checked, without being written anew', async () => {
    const image = await home.complete();
    const path = join(home.directory, `${digestHex(TOP)}.erofs`);
    const { ino } = statSync(path);
    await home.stop();
    await home.start();
    assert.equal(home.forms.offer(TOP), undefined);
    home.forms.requestAll();
    await until('it is checked', () => home.forms.stateOf(image) === 'complete');
    assert.equal(statSync(path).ino, ino);
    assert.deepEqual(home.warnings, []);
  });

  it('are given up when contents are gone after a restart', async () => {
    const image = await home.complete();
    await home.stop();
    await rm(join(home.root, 'contents', 'sha256'), { recursive: true });
    await home.start();
    home.forms.requestAll();
    await until('it is given up', () => home.warnings.length > 0);
    assert.equal(home.forms.stateOf(image), 'served');
    assert.deepEqual(await home.left(), []);
    await home.arrive(TEXTS.lower, TEXTS.upper);
    home.forms.request(TOP);
    await until('it is written again', () => home.forms.stateOf(image) === 'complete');
  });

  it('being checked when the daemon stops are left as they are', async () => {
    await home.complete();
    const before = await home.left();
    await home.stop();
    await home.start();
    home.forms.requestAll();
    await home.stop();
    await home.start();
    assert.deepEqual(await home.left(), before);
    assert.equal(await read(await mount(), 'both'), TEXTS.upper);
    assert.deepEqual(home.warnings, []);
  });

  it('leave nothing of a writing that was killed', async () => {
    await home.stop();
    writeFileSync(join(home.directory, 'tmp', '.half.tmp'), 'half');
    writeFileSync(join(home.directory, `${digestHex(TOP)}.erofs`), 'renamed, but not recorded');
    await home.start();
    await home.forms.sweep();
    assert.deepEqual(await home.left(), []);
    assert.deepEqual(await readdir(join(home.directory, 'tmp')), []);
  });

  it('go with the last image that has their layers', async () => {
    const image = await home.complete();
    home.parts.catalogue.remove([image.manifestDigest]);
    assert.equal(home.forms.offer(TOP), undefined);
    await until('its file is gone', async () => (await home.left()).length === 0);
  });

  it('are not finished when their image goes meanwhile', async () => {
    const image = await home.register();
    await home.arrive(TEXTS.lower, TEXTS.upper);
    home.parts.catalogue.setComplete(image.manifestDigest);
    assert.equal(home.forms.stateOf(image), 'building');
    home.parts.catalogue.remove([image.manifestDigest]);
    await until('the writing has ended', () => home.forms.stateOf(image) === 'served');
    assert.deepEqual(await home.left(), []);
    assert.deepEqual(await readdir(join(home.directory, 'tmp')), []);
  });

  it('that are being written end with the daemon, and are written by the next', async () => {
    const image = await home.register();
    await home.arrive(TEXTS.lower, TEXTS.upper);
    home.parts.catalogue.setComplete(image.manifestDigest);
    await home.stop();
    assert.deepEqual(home.warnings, []);
    await home.start();
    home.forms.requestAll();
    await until('it is written', () => home.forms.stateOf(image) === 'complete');
  });

  it('turned off are neither written nor offered, and those in use are kept', async () => {
    const image = await home.complete();
    await home.stop();
    await home.start(false);
    assert.equal(home.forms.offer(TOP), undefined);
    assert.equal(home.forms.stateOf(image), 'served');
    assert.match(home.forms.obstacle ?? '', /turned off/);
    assert.equal(await read(await mount(), 'both'), TEXTS.upper);
  });
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[1500] = (copy[1500] ?? 0) ^ 1;
  return copy;
}
