import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { faults, type SuiteReport } from '../../conformance/oci/report.ts';
import { SUITES } from '../../conformance/oci/suites.ts';
import { tally } from '../../conformance/oci/tally.ts';
import { WORKFLOWS } from '../../conformance/oci/workflow.ts';
import { type ObtainedSuite, obtainSuites } from '../../scripts/conformance/obtain-suites.ts';
import { runSuite } from '../../scripts/conformance/run-suite.ts';
import { Targets } from '../../scripts/conformance/targets.ts';
import { skip } from '../support/skip.ts';

const REFERRERS = /\/referrers$|\(listing references\)/;

/** The official suites, as `npm run conformance` runs them: those of them that the Go module proxy has. */
describe('official conformance suites', function () {
  this.timeout(1_800_000);
  let suites: readonly ObtainedSuite[];
  let targets: Targets;
  let reportDir: string;
  const reports: SuiteReport[] = [];

  before(async function () {
    suites = await obtainSuites((line) => console.log(`      ${line}`));
    if (suites.length === 0) skip(this, 'there is no Go on this machine, or no module proxy');
    reportDir = await mkdtemp(join(tmpdir(), 'sl-oci-reports-'));
    targets = await Targets.start();
    for (const { suite, binary } of suites) {
      reports.push(await runSuite({ suite, binary, targets, reportDir, say: () => undefined }));
    }
  });
  after(async () => {
    await targets?.[Symbol.asyncDispose]();
    if (reportDir !== undefined) await rm(reportDir, { recursive: true, force: true });
  });

  it('are there, of both kinds', () => {
    const kinds = suites.map(({ suite }) => suite.kind);
    assert.deepEqual(new Set(kinds), new Set(SUITES.map(({ kind }) => kind)));
  });

  it('pass on the embedded registry, every case, and fail nowhere through the proxy alone', () => {
    assert.deepEqual(reports.flatMap(faults), []);
  });

  it('have come to all four workflows, everywhere', () => {
    for (const { embedded, compared } of reports) {
      for (const outcomes of [
        embedded,
        ...compared.flatMap(({ alone, through }) => [alone, ...through.values()]),
      ]) {
        for (const workflow of WORKFLOWS) assert.ok(tally(outcomes, workflow).passed > 5, workflow);
      }
    }
  });

  it('find through the proxy the referrers and the pages of tags that docker-registry lacks', () => {
    const [{ embedded, compared } = assert.fail('no report')] = reports;
    const through = compared.find(({ name }) => name === 'docker-registry')?.through ?? new Map();
    assert.equal(through.size, 2);
    for (const outcomes of through.values()) {
      assert.deepEqual(tally(outcomes, 'content discovery'), tally(embedded, 'content discovery'));
    }
  });

  it('find in the lists of referrers what the suites have pushed, through the proxy as well', () => {
    for (const { suite, embedded, compared } of reports) {
      const asked = [...embedded.keys()].filter((name) => REFERRERS.test(name));
      assert.ok(asked.length >= 3, `${suite}: ${asked}`);
      for (const through of compared.flatMap((one) => [...one.through.values()])) {
        assert.deepEqual(
          asked.filter((name) => through.get(name) !== 'passed'),
          [],
          suite,
        );
      }
    }
  });

  it('lose nothing through the proxy where the registry lacks nothing', () => {
    for (const { suite, compared } of reports) {
      const { alone, through } = compared.find(({ name }) => name === 'another proxy') ?? assert.fail(suite);
      assert.equal(through.size, 2);
      for (const outcomes of through.values()) {
        assert.deepEqual(new Map([...outcomes].toSorted()), new Map([...alone].toSorted()), suite);
      }
    }
  });

  it('have left their reports', async () => {
    for (const directory of await readdir(reportDir)) {
      for (const pass of await readdir(join(reportDir, directory))) {
        const files = await readdir(join(reportDir, directory, pass));
        assert.ok(files.includes('junit.xml') && files.includes('report.html'), `${pass}: ${files.join()}`);
      }
    }
  });
});
