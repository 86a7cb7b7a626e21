import type { CaseOutcomes, Outcome } from './junit.ts';
import { type Workflow, workflowOf } from './workflow.ts';

/** How many cases of a workflow ended how. */
export type Tally = Readonly<Record<Outcome, number>>;

/**
 * Several passes of one suite as one: what failed in any has failed; what ran in any has run. Cases that exclude
 * each other (a registry that mounts blobs, one that does not) run in different passes.
 */
export function mergePasses(passes: readonly CaseOutcomes[]): CaseOutcomes {
  const merged = new Map<string, Outcome>();
  for (const pass of passes) {
    for (const [name, outcome] of pass) {
      const before = merged.get(name);
      if (before === 'failed' || (before === 'passed' && outcome === 'skipped')) continue;
      merged.set(name, outcome);
    }
  }
  return merged;
}

export function tally(cases: CaseOutcomes, workflow: Workflow): Tally {
  const counts: Record<Outcome, number> = { passed: 0, failed: 0, skipped: 0 };
  for (const [name, outcome] of cases) if (workflowOf(name) === workflow) counts[outcome] += 1;
  return counts;
}

/** The cases that did not pass. */
export function notPassed(cases: CaseOutcomes): string[] {
  return [...cases].filter(([, outcome]) => outcome !== 'passed').map(([name]) => name);
}

/**
 * The names of which fewer cases pass through the proxy than without it. Several cases may share a name, and a
 * suite may come to them in any order: so they are counted, not compared one by one.
 */
export function regressions(alone: CaseOutcomes, through: CaseOutcomes): string[] {
  const after = passedByName(through);
  return [...passedByName(alone)]
    .filter(([name, count]) => (after.get(name) ?? 0) < count)
    .map(([name]) => name);
}

function passedByName(cases: CaseOutcomes): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [key, outcome] of cases) {
    const name = key.replace(/ \(\d+\)$/, '');
    if (outcome === 'passed') counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}
