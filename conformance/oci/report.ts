import type { CaseOutcomes } from './junit.ts';
import { notPassed, regressions, tally } from './tally.ts';
import { WORKFLOWS } from './workflow.ts';

/** A registry that is compared: by itself, and through the proxy. */
export interface ComparedRegistry {
  readonly name: string;
  readonly alone: CaseOutcomes;
  readonly through: CaseOutcomes;
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
      regressions(alone, through).map((one) => `${report.suite}, ${name}, worse through the proxy: ${one}`),
    ),
  ];
}

/** The reports as a table in Markdown: passed / failed / skipped. */
export function table(reports: readonly SuiteReport[]): string {
  const names = [...new Set(reports.flatMap(({ compared }) => compared.map(({ name }) => name)))];
  const columns = names.flatMap((name) => [name, `${name} through the proxy`]);
  const rows = reports.flatMap(({ suite, embedded, compared }) =>
    WORKFLOWS.map((workflow) => {
      const cells = names.flatMap((name) => {
        const found = compared.find((one) => one.name === name);
        return found === undefined ? ['', ''] : [cell(found.alone), cell(found.through)];
      });
      return [suite, workflow, cell(embedded), ...cells];

      function cell(cases: CaseOutcomes): string {
        const { passed, failed, skipped } = tally(cases, workflow);
        return `${passed} / ${failed} / ${skipped}`;
      }
    }),
  );
  const head = ['suite', 'workflow', 'embedded', ...columns];
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
