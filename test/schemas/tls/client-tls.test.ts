import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClientTlsFiles, ClientTlsError, readClientTls } from '../../../schemas/tls/client-tls.ts';
import { type MadeCertificate, makeAuthority } from '../../support/certificates.ts';

describe('readClientTls()', function () {
  this.timeout(60_000);
  let directory: string;
  let made: MadeCertificate;
  let other: MadeCertificate;
  let nothing: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-client-tls-'));
    made = await makeAuthority(directory, 'made');
    other = await makeAuthority(directory, 'other');
    nothing = join(directory, 'nothing');
    await writeFile(nothing, 'nothing');
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it('is empty where no file is given', () => assert.deepEqual(readClientTls({}), {}));

  it('trusts the public authorities as well', () => {
    const { ca } = readClientTls({ caFile: made.certFile });
    assert.ok(ca !== undefined && ca.length > 50);
  });

  const BAD: readonly (readonly [what: string, files: () => ClientTlsFiles, message: RegExp])[] = [
    ['a missing file', () => ({ caFile: join(directory, 'none') }), /none: authorities to trust: ENOENT/],
    ['authorities that are none', () => ({ caFile: nothing }), /nothing: cannot be used/],
    ['a certificate without its key', () => ({ certFile: made.certFile }), /one of the two/],
    ['a key without its certificate', () => ({ keyFile: made.keyFile }), /one of the two/],
    [
      "another's key",
      () => ({ certFile: made.certFile, keyFile: other.keyFile }),
      /cannot be used: .*mismatch/,
    ],
    ['a certificate that is none', () => ({ certFile: nothing, keyFile: made.keyFile }), /cannot be used/],
  ];
  for (const [what, files, message] of BAD) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => readClientTls(files()),
        (error: unknown) => error instanceof ClientTlsError && message.test(error.message),
      );
    });
  }
});
