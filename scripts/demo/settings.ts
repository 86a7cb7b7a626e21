/** What the demo's user may set, by variables of the environment. */

export interface DemoSettings {
  readonly rttMs: number;
  readonly rateMbit: number;
}

const VARIABLES = [
  { name: 'RTT', key: 'rttMs', fallback: 100, maximum: 10_000, unit: 'round trip in ms' },
  { name: 'RATE', key: 'rateMbit', fallback: 50, maximum: 10_000, unit: 'Mbit/s; 0 for no limit' },
] as const;

/** The settings, or everything that is wrong with them. An empty variable counts as not set. */
export function demoSettings(
  env: Readonly<Record<string, string | undefined>>,
): { readonly settings: DemoSettings } | { readonly faults: readonly string[] } {
  const settings = { rttMs: 0, rateMbit: 0 };
  const faults: string[] = [];
  for (const { name, key, fallback, maximum, unit } of VARIABLES) {
    const text = env[name] || `${fallback}`;
    settings[key] = Number(text);
    if (!/^\d+(?:\.\d+)?$/.test(text) || settings[key] > maximum) {
      faults.push(`${name}=${text}: expected a number from 0 to ${maximum} (${unit})`);
    }
  }
  return faults.length > 0 ? { faults } : { settings };
}
