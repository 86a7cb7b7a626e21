import { type Static, Type } from '@sinclair/typebox';

const Count = (fallback: number, minimum: number, maximum: number, description: string) =>
  Type.Integer({ minimum, maximum, default: fallback, description });

/** What one client, or all together, may ask of the proxy. */
export const LimitsSchema = Type.Object({
  targetBytes: Count(
    8_192,
    512,
    65_536,
    "A request's path and query may be this long; a longer one is answered 414.",
  ),
});
export type LimitsConfig = Static<typeof LimitsSchema>;
