import type { Platform } from './types.ts';

/** `os/architecture[/variant]`, as `linux/arm64/v8`. */
export function formatPlatform(platform: Platform): string {
  const variant = platform.variant === undefined || platform.variant === '' ? '' : `/${platform.variant}`;
  return `${platform.os}/${platform.architecture}${variant}`;
}

/** @throws {RangeError} when `text` is not `os/architecture[/variant]`. */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new RangeError(
      `not a platform: ${JSON.stringify(text.slice(0, 80))} (expected os/architecture[/variant], as linux/amd64)`,
    );
  }
  return { os: match[1], architecture: match[2], ...(match[3] === undefined ? {} : { variant: match[3] }) };
}

/** The platform of the machine that runs this. */
export function hostPlatform(arch: NodeJS.Architecture = process.arch): Platform {
  const architecture = arch === 'x64' ? 'amd64' : arch === 'ia32' ? '386' : arch;
  return { os: 'linux', architecture };
}

/**
 * True when an image for `offered` runs where `wanted` is asked for: same system and architecture; a variant
 * counts only where both name one. (arm64's only variant is v8, so one that names it matches one that does not.)
 */
export function platformMatches(wanted: Platform, offered: Platform): boolean {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return false;
  return wanted.variant === undefined || offered.variant === undefined || wanted.variant === offered.variant;
}
