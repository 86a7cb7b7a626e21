import { BlockList, isIP } from 'node:net';
import { isGuarded } from './access/config.ts';
import type { ServerConfig } from './config.ts';
import { hasOwnCredentials } from './upstream/upstream-config.ts';
import { upstreamPlans } from './upstream/upstream-plan.ts';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** What should be said loudly of how the proxy is set up, one sentence each; nothing where it listens on loopback. */
export function exposures(config: ServerConfig): string[] {
  const { host } = config.listen;
  if (isLoopback(host)) return [];
  const warnings: string[] = [];
  if (config.tls === undefined) {
    const passwords = isGuarded(config.access) ? 'passwords of users' : 'credentials and contents';
    warnings.push(
      `plain HTTP on ${host}: ${passwords} can be read and changed on the way; set tls.certFile and tls.keyFile`,
    );
  }
  const plans = upstreamPlans(config);
  if (plans.some(({ config: upstream }) => upstream === undefined) && !isGuarded(config.access)) {
    warnings.push(
      `everybody who reaches ${host} may read, write and delete in the embedded registry; set access.htpasswdFile`,
    );
  }
  for (const { key, config: upstream } of plans) {
    if (upstream === undefined || !hasOwnCredentials(upstream)) continue;
    warnings.push(
      `everybody who reaches ${host} may do at the upstream ${key} what the proxy's credentials allow there`,
    );
  }
  const pushes = (config.access.rules ?? []).filter(
    ({ users, allow }) => users === 'anonymous' && allow.some((action) => action !== 'pull'),
  );
  for (const { repositories } of pushes) {
    warnings.push(`everybody who reaches ${host} may change ${repositories}: access.rules says so`);
  }
  return warnings;
}

function isLoopback(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return host === 'localhost';
  return LOOPBACK.check(host, family === 4 ? 'ipv4' : 'ipv6');
}
