/** A `WWW-Authenticate` header's first challenge that the worker can meet (RFC 9110 §11.6.1). */
export type Challenge =
  | { readonly scheme: 'basic' }
  | { readonly scheme: 'bearer'; readonly realm: string; readonly service?: string; readonly scope?: string };

/** undefined when the header names no scheme that is known, or a bearer realm is missing. */
export function parseChallenge(header: string): Challenge | undefined {
  const match = /^\s*(basic|bearer)(?:\s+(.*))?$/is.exec(header.slice(0, 4096));
  if (match === null) return undefined;
  if (match[1]?.toLowerCase() === 'basic') return { scheme: 'basic' };
  const parameters = new Map<string, string>();
  for (const part of (match[2] ?? '').matchAll(/([a-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gi)) {
    const value = part[2]?.replace(/\\(.)/g, '$1') ?? part[3] ?? '';
    parameters.set((part[1] ?? '').toLowerCase(), value);
  }
  const realm = parameters.get('realm');
  if (realm === undefined || !URL.canParse(realm)) return undefined;
  const service = parameters.get('service');
  const scope = parameters.get('scope');
  return {
    scheme: 'bearer',
    realm,
    ...(service === undefined ? {} : { service }),
    ...(scope === undefined ? {} : { scope }),
  };
}
