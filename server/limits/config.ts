import { isIP } from 'node:net';
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { Ms } from '../../schemas/config/setting.ts';

const Count = (fallback: number, minimum: number, maximum: number, description: string) =>
  Type.Integer({ minimum, maximum, default: fallback, description });

const MIB = 1 << 20;

/** What one client, or all together, may ask of the proxy. The README of this folder tells what each is against. */
export const LimitsSchema = Type.Object({
  targetBytes: Count(8_192, 512, 65_536, "A request's path and query may be this long, else 414."),
  headerBytes: Count(65_536, 4_096, MIB, "A request's line and headers may be this long, else 431."),
  headerTimeoutMs: Ms(20_000, "A request's headers must have come this long after it began, else 408."),
  bodyBytesPerS: Count(
    1_024,
    0,
    MIB,
    'Bodies must move at least this fast on average, in both directions, else the connection is cut; 0 cuts none.',
  ),
  bodyGraceMs: Ms(120_000, 'The time over which that average is taken: a shorter standstill does no harm.'),
  connections: Count(10_000, 1, 1_000_000, 'How many connections of clients may be open at once.'),
  connectionsPerClient: Count(0, 0, 1_000_000, 'The same for one client address; 0 sets no limit.'),
  requestsPerS: Type.Number({
    minimum: 0,
    maximum: 1_000_000,
    default: 0,
    description: 'Requests per second of one client address, on average, else 429; 0 sets no limit.',
  }),
  requestBurst: Count(500, 1, 1_000_000, 'How many requests a client that was quiet may send at once.'),
  clientHeader: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z][A-Za-z0-9-]{0,63}$',
      expected: 'the name of a header',
      description:
        'The header in which limits.trustedProxies name the client, as X-Forwarded-For; of a list, the last that is no proxy.',
    }),
  ),
  trustedProxies: Type.Array(Type.String({ minLength: 2, maxLength: 64 }), {
    default: [],
    maxItems: 256,
    description: 'Addresses and networks (10.0.0.0/8) of the proxies whose limits.clientHeader is believed.',
  }),
  manifestBytes: Count(4 * MIB, 4_096, 64 * MIB, 'A manifest that is pushed may be this large, else 413.'),
  jsonBytes: Count(
    32 * MIB,
    4_096,
    32 * MIB,
    "The JSON of the extension's requests may be this large, else 413.",
  ),
  uploads: Count(
    4_096,
    1,
    1_000_000,
    'Uploads to the embedded registry that may be under way at once, else 429.',
  ),
  uploadsPerRepository: Count(256, 1, 1_000_000, 'The same for one repository.'),
  uploadAgeMs: Ms(
    86_400_000,
    'An upload to which nothing was added for this long is removed with its bytes.',
  ),
});
export type LimitsConfig = Static<typeof LimitsSchema>;

export const DEFAULT_LIMITS: LimitsConfig = Value.Create(LimitsSchema);

/** Rules across several values, for `loadConfig`. */
export function checkLimits(limits: LimitsConfig): string[] {
  const { clientHeader, trustedProxies, targetBytes, headerBytes } = limits;
  const faults: string[] = [];
  if ((clientHeader === undefined) !== (trustedProxies.length === 0)) {
    faults.push('limits.clientHeader and limits.trustedProxies: neither has an effect without the other');
  }
  for (const text of trustedProxies) {
    if (!isNetwork(text)) {
      faults.push(`limits.trustedProxies: ${JSON.stringify(text)} is neither an address nor a network`);
    }
  }
  if (targetBytes >= headerBytes) faults.push('limits.targetBytes: must be smaller than limits.headerBytes');
  return faults;
}

function isNetwork(text: string): boolean {
  const [address = '', bits, more] = text.split('/');
  const family = isIP(address);
  if (family === 0 || more !== undefined) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}
