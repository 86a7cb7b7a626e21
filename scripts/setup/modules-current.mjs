// Exits with 0 when node_modules holds what package-lock.json says, by npm's own record of what it installed.
// Plain JavaScript: it runs on the machine's Node (18 or later), before Node 26 is there.
import { existsSync, readFileSync } from 'node:fs';

const packages = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : undefined);
const wanted = packages('package-lock.json');
const installed = packages('node_modules/.package-lock.json');

/** A package may be absent only where it is optional and meant for another machine. */
function isCurrent(path, { version, integrity, optional, os, cpu, libc }) {
  const found = installed[path];
  if (found !== undefined) return found.version === version && found.integrity === integrity;
  const elsewhere = os?.includes(process.platform) === false || cpu?.includes(process.arch) === false;
  return optional === true && (elsewhere || libc !== undefined || path.split('node_modules/').length > 2);
}

const current =
  installed !== undefined &&
  Object.entries(wanted).every(([path, entry]) => path === '' || isCurrent(path, entry)) &&
  Object.keys(installed).every((path) => path in wanted && existsSync(path));
process.exitCode = current ? 0 : 1;
