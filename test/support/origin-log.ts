import { readFile } from 'node:fs/promises';

/** One line of docker-registry's access log. */
export interface OriginRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Of the body that was sent. */
  readonly sizeBytes: number;
}

/** What a docker-registry was asked, as it has itself written down (Apache's combined format). */
export async function originRequests(logFile: string): Promise<readonly OriginRequest[]> {
  const log = await readFile(logFile, 'utf8');
  return [...log.matchAll(/"([A-Z]+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+)/g)].map((match) => ({
    method: match[1] ?? '',
    path: match[2] ?? '',
    status: Number(match[3]),
    sizeBytes: match[1] === 'HEAD' ? 0 : Number(match[4]),
  }));
}
