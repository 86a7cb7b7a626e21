import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert } from '../../schemas/image/convert.ts';
import { Endpoints } from '../../schemas/image/open-image.ts';
import { anonymous } from '../../schemas/registry-auth/credentials.ts';
import { makeLayout } from '../support/images.ts';
import { Link } from '../support/link.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { rawCall } from '../support/raw-http.ts';
import { directory, file } from '../support/tar.ts';

const SIGNAL = new AbortController().signal;
const CONTENT_BYTES = 16 << 20;
const DOWN_RATE = 4 << 20;

describe('the limits of a proxy', function () {
  this.timeout(180_000);
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-test-limits-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('let a client be that is slow and moves, for many times as long as one may stand still', async () => {
    makeLayout(join(root, 'layout'), [
      { tag: 'v1', layers: [[directory('lib'), file('lib/large', randomBytes(CONTENT_BYTES))]] },
    ]);
    // Pushed to a proxy that is patient: converting takes a busy machine long, and an upload stands still meanwhile.
    {
      await using patient = await ProxyProcess.start(join(root, 'proxy'));
      await using endpoints = new Endpoints({
        source: `oci:${join(root, 'layout')}:v1`,
        destination: `${patient.host}/app:v1`,
        ...{ credentials: anonymous, insecureSource: true, insecureDestination: true },
      });
      await convert(endpoints.source, endpoints.sink, {}, SIGNAL);
    }
    const flags = ['--limits-body-bytes-per-s', '100000', '--limits-body-grace-ms', '500'];
    await using proxy = await ProxyProcess.start(join(root, 'proxy'), flags);
    await using link = await Link.open({ targetPort: proxy.port, downRate: DOWN_RATE });
    for (const target of ['/starlight/delta?to=app:v1', '/starlight/delta?to=app:v1']) {
      const answer = await rawCall(link.port, target);
      assert.equal(answer.status, 200, answer.text.slice(0, 500));
      assert.equal(answer.bytes.length, Number(answer.headers['content-length']));
      assert.ok(answer.bytes.length > CONTENT_BYTES);
    }
  });

  it('remove an upload that is abandoned, also one that a killed proxy has left', async () => {
    const uploads = join(root, 'proxy/registry/app/_uploads');
    const begin = async (port: number): Promise<string> => {
      const begun = await rawCall(port, '/v2/app/blobs/uploads/', { method: 'POST' });
      assert.equal(begun.status, 202);
      const location = begun.headers['location'] ?? '';
      assert.equal((await rawCall(port, location, { method: 'PATCH', body: 'some bytes' })).status, 202);
      return location;
    };
    let left: string;
    {
      await using proxy = await ProxyProcess.start(join(root, 'proxy'));
      left = await begin(proxy.port);
      process.kill(proxy.server.pid, 'SIGKILL');
    }
    assert.equal((await readdir(uploads)).length, 1);
    await using proxy = await ProxyProcess.start(join(root, 'proxy'), ['--limits-upload-age-ms', '1000']);
    const fresh = await begin(proxy.port);
    for (const location of [left, fresh]) {
      while ((await rawCall(proxy.port, location)).status !== 404) await new Promise(setImmediate);
    }
    assert.deepEqual(await readdir(uploads), []);
  });
});
