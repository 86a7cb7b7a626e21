import { Value } from '@sinclair/typebox/value';
import { type UpstreamConfig, UpstreamSchema } from '../../server/upstream/upstream-config.ts';

/** The settings of an upstream at `url`, the defaults but with short time-outs. */
export function upstreamConfig(url: string, settings: Partial<UpstreamConfig> = {}): UpstreamConfig {
  const short = {
    ...{ connectTimeoutMs: 2000, readTimeoutMs: 5000, headerTimeoutMs: 5000 },
    ...{ idleTimeoutMs: 5000, connections: 8 },
  };
  // completed from the schema
  return Value.Default(UpstreamSchema, { url, ...short, ...settings }) as UpstreamConfig;
}
