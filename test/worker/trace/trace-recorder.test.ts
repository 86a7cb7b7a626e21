import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { DownloadError } from '../../../worker/download/download-error.ts';
import type { Image } from '../../../worker/images/image.ts';
import { migrate } from '../../../worker/images/migrations.ts';
import { reportTraces } from '../../../worker/trace/report.ts';
import { TraceRecorder } from '../../../worker/trace/trace-recorder.ts';

const signal = new AbortController().signal;
const image: Image = {
  manifestDigest: digestOf('manifest'),
  configDigest: digestOf('config'),
  tocDigest: digestOf('toc'),
  host: 'registry.example',
  repository: 'library/app',
  platform: 'linux/amd64',
  layers: [],
};
const other: Image = { ...image, manifestDigest: digestOf('other') };
const bytes = (text: string) => Buffer.from(text);

describe('TraceRecorder', () => {
  let db: DatabaseSync;
  const open = (on = true) => new TraceRecorder({ db, on, nowMs: () => 7 });
  beforeEach(() => {
    db = new DatabaseSync(':memory:');
    migrate(db);
  });
  afterEach(() => db.close());

  const texts = (recorder: TraceRecorder) =>
    recorder
      .collect()
      .map(({ traces }) => traces.map(({ opens }) => opens.map((path) => Buffer.from(path).toString())));

  it('keeps first opens in order, image by image, trace by trace', () => {
    const recorder = open();
    const one = recorder.begin(image);
    const two = recorder.begin(other);
    one(bytes('b'));
    two(bytes('x'));
    one(bytes('a'));
    recorder.begin(image)(bytes('again'));
    assert.deepEqual(texts(recorder), [[['b', 'a'], ['again']], [['x']]]);
  });

  it('records nothing while it is off', () => {
    const recorder = open(false);
    recorder.begin(image)(bytes('a'));
    assert.deepEqual(texts(recorder), []);
  });

  it('begins anew when it is turned on again', () => {
    const recorder = open();
    const record = recorder.begin(image);
    record(bytes('a'));
    recorder.on = false;
    record(bytes('unseen'));
    recorder.on = true;
    record(bytes('b'));
    assert.deepEqual(texts(recorder), [[['a'], ['b']]]);
  });

  it('survives the process', () => {
    const recorder = open();
    recorder.begin(image)(bytes('a'));
    recorder.flush();
    assert.deepEqual(texts(open()), [[['a']]]);
  });

  it('copies the path, which the driver may use again', () => {
    const recorder = open();
    const path = bytes('abc');
    recorder.begin(image)(path);
    path.fill(0);
    assert.deepEqual(texts(recorder), [[['abc']]]);
  });

  it('opens after a collection belong to a new trace, even when the old ones are removed', () => {
    const recorder = open();
    const record = recorder.begin(image);
    record(bytes('a'));
    const [first] = recorder.collect();
    assert.ok(first !== undefined);
    recorder.remove(first.traces);
    record(bytes('b'));
    assert.deepEqual(texts(recorder), [[['b']]]);
  });

  describe('reportTraces()', () => {
    const scopeOf = () => ({ host: '', repository: '', credentials: async () => undefined });

    it('sends each image with its traces, and forgets them', async () => {
      const recorder = open();
      const record = recorder.begin(image);
      record(bytes('etc/passwd'));
      record(Buffer.from([0x66, 0xff]));
      const sent: unknown[] = [];
      const target = {
        post: async (path: string, value: unknown) => {
          sent.push([path, value]);
          return { accepted: 1 };
        },
      };
      const reported = await reportTraces(recorder, target, scopeOf, signal);
      assert.deepEqual(sent, [
        [
          '/starlight/report',
          {
            image: image.manifestDigest,
            name: 'library/app',
            ns: 'registry.example',
            traces: [{ opens: ['etc/passwd', { b64: 'Zv8=' }] }],
          },
        ],
      ]);
      const reference = `registry.example/library/app@${image.manifestDigest}`;
      assert.deepEqual(reported, [{ reference, opens: 2, accepted: 1 }]);
      assert.deepEqual(recorder.collect(), []);
    });

    for (const [name, answer] of [
      ['refuses', new DownloadError('denied', 'no')],
      ['answers nonsense', {}],
      ['answers nothing', null],
      ['counts in words', { accepted: 'one' }],
    ] as const) {
      it(`keeps the traces when the proxy ${name}`, async () => {
        const recorder = open();
        recorder.begin(image)(bytes('a'));
        const target = {
          post: async () => {
            if (answer instanceof Error) throw answer;
            return answer;
          },
        };
        await assert.rejects(reportTraces(recorder, target, scopeOf, signal), DownloadError);
        assert.deepEqual(texts(recorder), [[['a']]]);
      });
    }
  });
});
