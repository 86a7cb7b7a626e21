import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../../../schemas/oci/digest.ts';
import { DEFAULT_LIMITS } from '../../../../server/limits/config.ts';
import { EmbeddedRegistry } from '../../../../server/registry/embedded/embedded-registry.ts';
import { LocalApp } from '../../../support/local-app.ts';

describe('the limits of the embedded registry', () => {
  let dir: string;
  let app: LocalApp;
  let now: number;
  let registry: EmbeddedRegistry;
  const signal = new AbortController().signal;
  const limits = { ...DEFAULT_LIMITS, uploads: 3, uploadsPerRepository: 2, uploadAgeMs: 60_000 };
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'starlight-embedded-'));
    now = Date.now();
    registry = new EmbeddedRegistry(dir, () => now, { ...limits, manifestBytes: 5_000 });
    app = await LocalApp.start(registry);
  });
  afterEach(async () => {
    await app[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });

  const call = (method: string, path: string, body: string | null = null): Promise<Response> =>
    fetch(`${app.url}/v2/${path}`, { method, body });
  const begin = (name: string) => call('POST', `${name}/blobs/uploads/`);
  async function beginUpload(): Promise<string> {
    const begun = await begin('a/b');
    assert.equal(begun.status, 202);
    return (begun.headers.get('location') ?? '').replace('/v2/', '');
  }
  /** The status and the first error's code. */
  async function refusal(response: Response): Promise<string> {
    const { errors } = (await response.json()) as { errors: { code: string }[] };
    return `${response.status} ${errors[0]?.code}`;
  }

  it('removes uploads that nothing came to, with their bytes, and keeps the others', async () => {
    const old = await beginUpload();
    await call('PATCH', old, 'some bytes');
    assert.equal(await registry.sweepUploads(signal), 0);
    now += 61_000;
    const young = await beginUpload();
    const file = join(dir, 'a/b/_uploads', young.split('/').at(-1) ?? '');
    await utimes(file, now / 1000, now / 1000);
    assert.equal(await registry.sweepUploads(signal), 1);
    assert.equal((await call('GET', old)).status, 404);
    assert.equal((await call('GET', young)).status, 204);
    assert.equal((await readdir(join(dir, 'a/b/_uploads'))).length, 1);
  });

  it('refuses more than so many uploads of one repository, and of all', async () => {
    for (const [name, status] of [
      ['a/b', 202],
      ['a/b', 202],
      ['a/b', 429],
      ['other', 202],
      ['third', 429],
    ] as const) {
      const answer = await begin(name);
      assert.equal(answer.status, status, name);
      if (status === 429) {
        assert.equal(answer.headers.get('retry-after'), '30');
        assert.equal(await refusal(answer), '429 TOOMANYREQUESTS');
      }
    }
  });

  it('refuses a blob in one request as well, and counts it no longer than it lasts', async () => {
    const whole = () => call('POST', `a/b/blobs/uploads/?digest=${digestOf('whole')}`, 'whole');
    for (let time = 0; time < 5; time += 1) assert.equal((await whole()).status, 201);
    await begin('a/b');
    await begin('a/b');
    assert.equal((await whole()).status, 429);
  });

  for (const [how, end] of [
    ['is finished', (at: string) => call('PUT', `${at}?digest=${digestOf('')}`)],
    ['turns out to be another', (at: string) => call('PUT', `${at}?digest=${digestOf('x')}`)],
    ['is cancelled', (at: string) => call('DELETE', at)],
  ] as const) {
    it(`lets another begin when one ${how}`, async () => {
      const at = await beginUpload();
      await begin('a/b');
      assert.equal((await begin('a/b')).status, 429);
      await end(at);
      assert.equal((await begin('a/b')).status, 202);
    });
  }

  it('makes room by removing what is too old', async () => {
    await begin('a/b');
    await begin('a/b');
    now += 61_000;
    assert.equal((await begin('a/b')).status, 202);
  });

  it('counts what another process has left, once it has looked', async () => {
    await begin('a/b');
    await begin('a/b');
    await app[Symbol.asyncDispose]();
    registry = new EmbeddedRegistry(dir, () => now, limits);
    app = await LocalApp.start(registry);
    await registry.sweepUploads(signal);
    assert.equal((await begin('a/b')).status, 429);
  });

  it('takes a manifest up to its limit and refuses a larger one, announced or not', async () => {
    const manifest = (bytes: number) => {
      const index = { schemaVersion: 2, manifests: [], annotations: { a: '' } };
      return JSON.stringify({
        ...index,
        annotations: { a: 'x'.repeat(bytes - JSON.stringify(index).length) },
      });
    };
    assert.equal((await call('PUT', 'a/b/manifests/fits', manifest(5_000))).status, 201);
    const large = manifest(5_001);
    assert.equal(await refusal(await call('PUT', 'a/b/manifests/large', large)), '413 SIZE_INVALID');
    const chunks = new Blob([large]).stream();
    const sent = await fetch(`${app.url}/v2/a/b/manifests/large`, {
      method: 'PUT',
      body: chunks,
      duplex: 'half',
    });
    assert.equal(await refusal(sent), '413 SIZE_INVALID');
  });
});
