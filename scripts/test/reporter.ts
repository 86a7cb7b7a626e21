import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';
import { skipReason } from '../../test/support/skip.ts';

const { EVENT_RUN_END } = Mocha.Runner.constants;

/** What the tests that were skipped lacked: each reason once, with how many and the first few of them. */
function printSkipped(skipped: readonly Mocha.Test[]): void {
  const SHOWN = 3;
  const byReason = Map.groupBy(skipped, (test) => skipReason(test) ?? 'no reason given');
  for (const [reason, tests] of byReason) {
    console.log(`  skipped ${tests.length}: ${reason}`);
    for (const test of tests.slice(0, SHOWN)) console.log(`    ${test.fullTitle()}`);
    if (tests.length > SHOWN) console.log(`    and ${tests.length - SHOWN} more`);
  }
}

/**
 * Mocha's own spec output, then why tests were skipped, then `N passed, N failed, N skipped` alone on a line;
 * the line goes to the file that STARLIGHT_TEST_SUMMARY names, when it does (scripts/test.sh prints it last).
 */
export default class SummaryReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const skipped: Mocha.Test[] = [];
    runner.on(Mocha.Runner.constants.EVENT_TEST_PENDING, (test: Mocha.Test) => skipped.push(test));
    runner.once(EVENT_RUN_END, () => {
      printSkipped(skipped);
      const { passes, failures } = this.stats;
      const line = `${passes} passed, ${failures} failed, ${skipped.length} skipped`;
      const path = process.env['STARLIGHT_TEST_SUMMARY'];
      if (path === undefined) console.log(line);
      else writeFileSync(path, `${line}\n`);
    });
  }
}
