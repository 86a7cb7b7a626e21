import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SUITES } from '../../../conformance/oci/suites.ts';
import { runPass } from '../../../scripts/conformance/run-pass.ts';

describe('runPass()', () => {
  const suite = SUITES[0] ?? assert.fail('no suite');
  const pass = { title: 'a pass', env: { STATUS: 'passed' } };
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sl-pass-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  async function run(script: string) {
    const binary = join(directory, 'suite');
    await writeFile(binary, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const reportDir = join(directory, 'report');
    return await runPass({ suite, pass, binary, url: 'http://127.0.0.1:1', prefix: 'p', reportDir });
  }

  it('reads the report that the suite has left, whatever its exit code', async () => {
    const line = '<testcase name=\\"$OCI_ROOT_URL $OCI_NAMESPACE\\" status=\\"$STATUS\\"/>';
    const found = await run(`echo "${line}" > "$OCI_REPORT_DIR/junit.xml"; exit 1`);
    assert.deepEqual([...found], [['http://127.0.0.1:1 p/one', 'passed']]);
  });

  it('does not take the report of an earlier run for one', async () => {
    await run(`echo '<testcase name="T" status="passed"/>' > "$OCI_REPORT_DIR/junit.xml"`);
    await assert.rejects(run('echo broken >&2; exit 1'), /no report\nbroken/);
  });
});
