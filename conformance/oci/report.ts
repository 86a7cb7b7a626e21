import type { CaseOutcomes } from './junit.ts';
import { notPassed, regressions, tally } from './tally.ts';
import { WORKFLOWS } from './workflow.ts';

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

/** The reports as a table in Markdown: passed / failed / skipped. All compare the same registries. */
export function table(reports: readonly SuiteReport[]): string {
  const columns = reports.map(columnsOf);
  const rows = reports.flatMap(({ suite }, row) =>
    WORKFLOWS.map((workflow) => [
      suite,
      workflow,
      ...(columns[row] ?? []).map(([, cases]) => {
        const { passed, failed, skipped } = tally(cases, workflow);
        return `${passed} / ${failed} / ${skipped}`;
      }),
    ]),
  );
  const head = ['suite', 'workflow', ...(columns[0] ?? []).map(([title]) => title)];
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

function columnsOf({ embedded, compared }: SuiteReport): readonly (readonly [string, CaseOutcomes])[] {
  return [
    ['embedded', embedded],
    ...compared.flatMap(({ name, alone, through }) => [
      [name, alone] as const,
      ...[...through].map(([how, cases]) => [`${name} ${how}`, cases] as const),
    ]),
  ];
}
