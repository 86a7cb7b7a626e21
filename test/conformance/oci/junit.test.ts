import assert from 'node:assert/strict';
import { readJunit } from '../../../conformance/oci/junit.ts';

const report = (...cases: readonly string[]) =>
  `<?xml version="1.0"?><testsuites><testsuite name="s" tests="1">${cases.join('')}</testsuite></testsuites>`;

describe('readJunit()', () => {
  it("reads Ginkgo's reports, without its nodes beside the cases", () => {
    const text = report(
      '<testcase name="[SynchronizedBeforeSuite]" status="passed" time="1"></testcase>',
      '<testcase name="[It] Suite Pull a &#34;b&#34; &amp; &lt;c&gt;" classname="x" status="passed" time="0.1"/>',
      '<testcase name="Suite Push d" status="skipped"><skipped message="name=&#34;no&#34;"></skipped></testcase>',
      '<testcase name="Suite Push e" status="failed"><failure message="&lt;testcase status"/></testcase>',
      '<testcase name="[ReportAfterSuite]" status="passed"></testcase>',
    );
    assert.deepEqual(
      [...readJunit(text)],
      [
        ['Suite Pull a "b" & <c>', 'passed'],
        ['Suite Push d', 'skipped'],
        ['Suite Push e', 'failed'],
      ],
    );
  });

  it("reads the second suite's reports", () => {
    const text = report(
      '<testcase name="T/a" classname="" time="0" status="passed"></testcase>',
      '<testcase name="T/b" status="failure"></testcase>',
      '<testcase name="T/c" status="error"></testcase>',
      '<testcase name="T/d" status="disabled"></testcase>',
    );
    assert.deepEqual([...readJunit(text).values()], ['passed', 'failed', 'failed', 'skipped']);
  });

  it('keeps cases of one name apart', () => {
    const one = '<testcase name="T" status="passed"/>';
    assert.deepEqual([...readJunit(report(one, one, one)).keys()], ['T', 'T (2)', 'T (3)']);
  });

  for (const [title, text] of [
    ['nothing', ''],
    ['a report without cases', report()],
    ['an ending that is not known', report('<testcase name="T" status="odd"/>')],
    ['no ending', report('<testcase name="T"/>')],
  ] as const) {
    it(`refuses ${title}`, () => assert.throws(() => readJunit(text), Error));
  }
});
