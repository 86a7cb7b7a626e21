/** A challenge of a `WWW-Authenticate` header that can be met. */
export type Challenge =
  | { readonly scheme: 'basic' }
  | { readonly scheme: 'bearer'; readonly realm: string; readonly service?: string; readonly scope?: string };

/** Longer ones are cut. */
const MAX_HEADER_CHARS = 4096;

/**
 * The first challenge that can be met (RFC 9110 §11.6.1); undefined when no scheme is known, or a bearer realm is
 * missing or no HTTP URL. Several header lines count as one.
 */
export function parseChallenge(header: string | readonly string[] | undefined): Challenge | undefined {
  const text = (typeof header === 'string' ? header : (header ?? []).join(', ')).slice(0, MAX_HEADER_CHARS);
  for (const match of text.matchAll(/(?:^|,)\s*(basic|bearer)(?=[\s,]|$)/gi)) {
    if (match[1]?.toLowerCase() === 'basic') return { scheme: 'basic' };
    const challenge = bearer(parametersOf(text.slice(match.index + match[0].length)));
    if (challenge !== undefined) return challenge;
  }
  return undefined;
}

/** Up to what is no parameter: there the next challenge begins. */
function parametersOf(text: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const [, name, quoted, plain] of text.matchAll(
    /\s*,?\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gy,
  )) {
    parameters.set((name ?? '').toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
  }
  return parameters;
}

function bearer(parameters: ReadonlyMap<string, string>): Challenge | undefined {
  const realm = parameters.get('realm');
  const url = realm === undefined ? null : URL.parse(realm);
  if (realm === undefined || (url?.protocol !== 'https:' && url?.protocol !== 'http:')) return undefined;
  const service = parameters.get('service');
  const scope = parameters.get('scope');
  return {
    scheme: 'bearer',
    realm,
    ...(service === undefined ? {} : { service }),
    ...(scope === undefined ? {} : { scope }),
  };
}
