import { Type } from '@sinclair/typebox';

/** Settings that every process has some of. */

/** A time in milliseconds, a day at most. */
export const Ms = (fallback: number, description: string, minimum = 1) =>
  Type.Integer({ minimum, maximum: 86_400_000, default: fallback, description });

/** pino's levels, without `fatal`, which nothing here uses. */
export const LogLevel = (description: string) =>
  Type.Union(
    [
      Type.Literal('trace'),
      Type.Literal('debug'),
      Type.Literal('info'),
      Type.Literal('warn'),
      Type.Literal('error'),
      Type.Literal('silent'),
    ],
    { default: 'info', description },
  );
