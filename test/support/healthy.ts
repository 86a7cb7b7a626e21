import { Health } from '../../server/health.ts';

/** For an application whose health is not what is tested. */
export const healthy = new Health({
  checks: [],
  starting: () => false,
  draining: () => false,
  onChange: () => undefined,
});
