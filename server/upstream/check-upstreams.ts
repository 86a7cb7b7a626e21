import type { Static } from '@sinclair/typebox';
import { canonicalHost, isLoopback } from '../../schemas/oci/host.ts';
import type { UpstreamConfig, UpstreamEntry, UpstreamSchema } from './upstream-config.ts';

export interface UpstreamsConfig {
  readonly upstream?: Static<typeof UpstreamSchema>;
  readonly upstreams: readonly UpstreamEntry[];
}

/** What is wrong across the settings of the upstreams, each with what to do about it. */
export function checkUpstreams({ upstream, upstreams }: UpstreamsConfig): string[] {
  if (upstream !== undefined && upstreams.length > 0) {
    return ['upstream: cannot stand beside upstreams; make it an entry of that list, with default: true'];
  }
  if (upstream !== undefined) return checkConnection('upstream', upstream);
  return [
    ...upstreams.flatMap((entry, row) => checkEntry(`upstreams[${row}]`, entry)),
    ...checkTogether(upstreams),
  ];
}

function checkEntry(at: string, entry: UpstreamEntry): string[] {
  const faults: string[] = [];
  const { url } = entry;
  if (entry.embedded && url !== undefined) faults.push(`${at}: give it either a url or embedded: true`);
  if (!entry.embedded && url === undefined) {
    faults.push(`${at}.url: missing; set it, or embedded: true for the registry in storage.dir`);
  }
  if (entry.hosts.length === 0 && entry.prefix === undefined && !entry.default) {
    faults.push(`${at}: is never chosen; give it hosts, a prefix or default: true`);
  }
  if (url !== undefined) faults.push(...checkConnection(at, { ...entry, url }));
  return faults;
}

function checkConnection(at: string, config: UpstreamConfig): string[] {
  const faults: string[] = [];
  const add = (key: string, text: string) => faults.push(`${at}.${key}: ${text}`);
  const url = URL.parse(config.url);
  if (url === null) {
    add('url', 'is no URL');
    return faults;
  }
  if (url.protocol === 'http:') {
    if (!config.plainHttp && !isLoopback(url.hostname)) {
      add(
        'url',
        `plain http to ${url.host}; use https, or set plainHttp: true to send passwords in the clear`,
      );
    }
    for (const key of ['caFile', 'clientCertFile', 'clientKeyFile'] as const) {
      if (config[key] !== undefined) add(key, 'has no effect, since the url is plain http');
    }
    if (config.insecureSkipVerify) add('insecureSkipVerify', 'has no effect, since the url is plain http');
  }
  if (config.insecureSkipVerify && config.caFile !== undefined) {
    add('insecureSkipVerify', 'takes away what caFile is for; leave one of them out');
  }
  const pairs = [
    ['clientCertFile', 'clientKeyFile'],
    ['username', 'passwordFile'],
  ] as const;
  for (const [one, other] of pairs) {
    if (config[one] !== undefined && config[other] === undefined) add(other, `missing, since ${one} is set`);
    if (config[one] === undefined && config[other] !== undefined) add(one, `missing, since ${other} is set`);
  }
  if (config.tokenFile !== undefined && config.username !== undefined) {
    add('tokenFile', 'cannot stand beside username; leave one of them out');
  }
  return faults;
}

function checkTogether(upstreams: readonly UpstreamEntry[]): string[] {
  const faults: string[] = [];
  const once = (values: readonly (readonly [key: string, value: string])[], what: string): void => {
    const seen = new Map<string, string>();
    for (const [key, value] of values) {
      const before = seen.get(value);
      if (before !== undefined)
        faults.push(`${key}: ${what} ${JSON.stringify(value)} is that of ${before} already`);
      else seen.set(value, key);
    }
  };
  const each = <T>(pick: (entry: UpstreamEntry, at: string) => readonly T[]): T[] =>
    upstreams.flatMap((entry, row) => pick(entry, `upstreams[${row}]`));
  once(
    each((entry, at) => [[`${at}.name`, entry.name] as const]),
    'the name',
  );
  once(
    each((entry, at) => entry.hosts.map((host, n) => [`${at}.hosts[${n}]`, canonicalHost(host)] as const)),
    'the host',
  );
  once(
    each((entry, at) => (entry.prefix === undefined ? [] : [[`${at}.prefix`, entry.prefix] as const])),
    'the prefix',
  );
  const only = (key: 'default' | 'embedded'): void => {
    const rows = each((entry, at) => (entry[key] ? [at] : []));
    if (rows.length > 1) faults.push(`${rows[1]}.${key}: ${rows[0]} is so already, and only one can be`);
  };
  only('default');
  only('embedded');
  return faults;
}
