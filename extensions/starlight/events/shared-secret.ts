import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * That a request presents the secret that webhooks share with us: as the value of `Authorization`, bare, as
 * `Bearer`, or as the password of `Basic` with any user, whichever the sender can be told. Compared by digest, so
 * that neither content nor length shows in the time it takes.
 */
export function presentsSecret(authorization: string | undefined, secret: string): boolean {
  const offered = authorization ?? '';
  const basic = /^Basic +(\S+)$/i.exec(offered)?.[1];
  const pair = basic === undefined ? '' : Buffer.from(basic, 'base64').toString();
  const password = pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : '';
  const bearer = /^Bearer +(.+)$/i.exec(offered)?.[1] ?? '';
  return [offered, bearer, password].map((one) => same(one, secret)).some(Boolean);
}

/** Of two texts, in a time that does not hang on what they are. */
export function same(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
