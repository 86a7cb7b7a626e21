import { readFileSync } from 'node:fs';

/** The version of this program, of package.json. */
export function ownVersion(): string {
  const packageFile = new URL('../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }; // our own file
  return version;
}
