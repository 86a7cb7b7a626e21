/** The four workflows of the distribution-spec, in the order of its table. */
export const WORKFLOWS = ['pull', 'push', 'content discovery', 'content management'] as const;
export type Workflow = (typeof WORKFLOWS)[number];

/** Suites of the first kind say it in a case's name; those of the second name what is asked. The first match counts. */
const SIGNS: readonly (readonly [RegExp, Workflow])[] = [
  [/^OCI Distribution Conformance Tests Pull\b/, 'pull'],
  [/^OCI Distribution Conformance Tests Push\b/, 'push'],
  [/^OCI Distribution Conformance Tests Content Discovery\b/, 'content discovery'],
  [/^OCI Distribution Conformance Tests Content Management\b/, 'content management'],
  [/\/(?:tag[- ]list|referrers)\b/, 'content discovery'],
  [/delete(?: \(\d+\))?$|\/delete\//, 'content management'],
  [/\/(?:blob-(?:get|head)|get-missing|missing-manifest|manifest-get|pull|head|range [-\d])|\/ping$/, 'pull'],
];

/** Which workflow a case belongs to, by its name; a case that tells nothing else pushes. */
export function workflowOf(name: string): Workflow {
  return SIGNS.find(([sign]) => sign.test(name))?.[1] ?? 'push';
}
