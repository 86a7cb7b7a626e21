import type { CaseOutcomes } from './junit.ts';
import { notPassed, regressions, tally } from './tally.ts';
import { type Workflow, WORKFLOWS } from './workflow.ts';

/** A registry that is compared: by itself, and through the proxy, by how that is set up. */
export interface ComparedRegistry {
  readonly name: string;
  readonly alone: CaseOutcomes;
  readonly through: ReadonlyMap<string, CaseOutcomes>;
}

/** What one suite said. */
export interface SuiteReport {
  readonly suite: string;
  readonly embedded: CaseOutcomes;
  readonly compared: readonly ComparedRegistry[];
}

/** What must not be: anything in the embedded registry that does not pass, anything that the proxy makes worse. */
export function faults(report: SuiteReport): string[] {
  return [
    ...notPassed(report.embedded).map((name) => `${report.suite}, embedded: ${name}`),
    ...report.compared.flatMap(({ name, alone, through }) =>
      [...through].flatMap(([how, outcomes]) =>
        regressions(alone, outcomes).map((one) => `${report.suite}, ${name}, worse ${how}: ${one}`),
      ),
    ),
  ];
}

/** The reports as a table in Markdown: passed / failed / skipped. All compare registries in the same ways. */
export function table(reports: readonly SuiteReport[]): string {
  const ways = [...new Set(reports.flatMap(({ compared }) => compared.flatMap(waysOf)))];
  const rows = reports.flatMap(({ suite, embedded, compared }) =>
    compared.flatMap(({ name, alone, through }) =>
      WORKFLOWS.map((workflow) => [
        suite,
        workflow,
        sums(embedded, workflow),
        name,
        sums(alone, workflow),
        ...ways.map((how) => sums(through.get(how) ?? new Map(), workflow)),
      ]),
    ),
  );
  const head = ['suite', 'workflow', 'embedded', 'upstream', 'alone', ...ways];
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

function waysOf({ through }: ComparedRegistry): string[] {
  return [...through.keys()];
}

function sums(cases: CaseOutcomes, workflow: Workflow): string {
  const { passed, failed, skipped } = tally(cases, workflow);
  return `${passed} / ${failed} / ${skipped}`;
}
