import { readdirSync, readFileSync } from 'node:fs';

/** What a server and its children have used up so far. */
export interface ProcessCost {
  /** Processor time, in user and kernel mode. */
  readonly cpuSeconds: number;
  /** The most that each had resident, added up. */
  readonly peakBytes: number;
}

/** /proc counts processor time in this many ticks a second on every Linux there is. */
const TICKS_PER_SECOND = 100;

/** Of the living processes below `pid`, itself included. */
export function processCost(pid: number): ProcessCost {
  let cpuSeconds = 0;
  let peakBytes = 0;
  for (const one of familyOf(pid)) {
    const stat = readFileSync(`/proc/${one}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    cpuSeconds += (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${one}/status`, 'latin1'));
    peakBytes += Number(peak?.[1] ?? 0) * 1024;
  }
  return { cpuSeconds, peakBytes };
}

function familyOf(pid: number): readonly number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(familyOf)];
}
