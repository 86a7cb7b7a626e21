import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tryRun } from '../../scripts/lib/child.ts';

const COMMAND = new URL('../../scripts/conformance/main.ts', import.meta.url).pathname;
const CASE = 'OCI Distribution Conformance Tests Pull one case';

/** Stands for a suite: one case, which ends as the environment says for where it is run. */
const SUITE = `#!/bin/sh
case "$OCI_REPORT_DIR" in
  */embedded-*) status=$EMBEDDED ;;
  */docker-registry-through-*) status=$THROUGH ;;
  *) status=$ALONE ;;
esac
echo "<testcase name=\\"${CASE}\\" status=\\"$status\\"/>" > "$OCI_REPORT_DIR/junit.xml"
`;

/** `npm run conformance`, with real registries and a suite whose outcome is known. */
describe('npm run conformance', function () {
  this.timeout(600_000);
  let directory: string;
  let suite: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sl-conformance-'));
    suite = join(directory, 'suite');
    await writeFile(suite, SUITE, { mode: 0o755 });
  });
  after(() => rm(directory, { recursive: true, force: true }));

  const command = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    tryRun(process.execPath, [COMMAND, '--build-nothing', '--report-dir', directory, ...args], { env });

  it('exits with 1 where a case is skipped through the proxy, names it, and leaves the reports', async () => {
    const outcomes = { EMBEDDED: 'passed', ALONE: 'passed', THROUGH: 'skipped' };
    const { code, stdout, stderr } = await command(['--built', `v1.1.1=${suite}`], outcomes);
    assert.equal(code, 1, stderr);
    assert.match(
      stdout,
      /^\| v1\.1\.1 \| pull \| 1 \/ 0 \/ 0 \| docker-registry \| 1 \/ 0 \/ 0 \| 0 \/ 0 \/ 1 \|/m,
    );
    assert.deepEqual(
      stderr.split('\n').filter((line) => line.includes(CASE)),
      ['through the proxy', 'through the proxy as a mirror'].map(
        (how) => `v1.1.1, docker-registry, worse ${how}: ${CASE}`,
      ),
    );
    const report = join(directory, 'v1.1.1/docker-registry-all-workflows/junit.xml');
    assert.match(await readFile(report, 'utf8'), /"passed"/);
  });

  for (const [title, args] of [
    ['no suite can be had', []],
    ['a suite is not known', ['--built', 'v0=/bin/true']],
    ['an option is not known', ['--no-such-option']],
  ] as const) {
    it(`exits with 2 where ${title}`, async () => {
      const { code, stdout } = await command(args);
      assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    });
  }
});
