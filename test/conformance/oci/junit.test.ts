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

  it('tells cases apart by the tag that they are about, in whatever order they come', () => {
    const one = (name: string, status: string, reference: string) =>
      `<testcase name="T/${name}" status="${status}">
        <system-out>URL: http://h/v2/n/manifests/no</system-out>
        <system-err>====&#xA;~~~ REQUEST ~~~&#xA;Method: HEAD&#xA;URL: http://h:1/v2/n/manifests/${reference}&#xA;Headers:&#xA;
URL: http://h:1/v2/n/manifests/later&#xA;</system-err>
      </testcase>`;
    const text = report(
      one('delete/tag-delete', 'skipped', 'two'),
      one('delete/tag-delete', 'passed', 'one'),
      one('push/manifest-by-tag', 'failure', 'a.b-c_d'),
      one('head/manifest-head-by-tag', 'passed', 'one'),
      '<testcase name="T/delete/tag-delete" status="skipped"/>',
      one('missing-manifest/by-tag', 'passed', 'RANDOM'),
      one('pull/manifest-by-digest', 'passed', 'sha256:0123'),
      one('pull/manifest-by-digest', 'passed', 'sha256:4567'),
    );
    assert.deepEqual(
      [...readJunit(text)],
      [
        ['T/delete/tag-delete two', 'skipped'],
        ['T/delete/tag-delete one', 'passed'],
        ['T/push/manifest-by-tag a.b-c_d', 'failed'],
        ['T/head/manifest-head-by-tag one', 'passed'],
        ['T/delete/tag-delete', 'skipped'],
        ['T/missing-manifest/by-tag', 'passed'],
        ['T/pull/manifest-by-digest', 'passed'],
        ['T/pull/manifest-by-digest (2)', 'passed'],
      ],
    );
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
