import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { LimitsConfig } from './config.ts';

/** A chain of proxies longer than this is none. */
const MAX_HOPS = 32;

/** Whose a request is, for limits by client: an IPv4 address, or the /64 that an IPv6 client has to itself. */
export class ClientAddresses {
  readonly #header: string | undefined;
  readonly #trusted = new BlockList();

  constructor({ clientHeader, trustedProxies }: Pick<LimitsConfig, 'clientHeader' | 'trustedProxies'>) {
    this.#header = clientHeader?.toLowerCase();
    for (const text of trustedProxies) {
      const [address = '', bits] = text.split('/');
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (bits === undefined) this.#trusted.addAddress(address, family);
      else this.#trusted.addSubnet(address, Number(bits), family);
    }
  }

  /**
   * The address of the connection; where that is a trusted proxy's, the last in its header that is not one. What
   * stands before that was written by the client itself, and may be anything.
   */
  of(request: IncomingMessage): string {
    const peer = plain(request.socket.remoteAddress ?? '');
    if (this.#header === undefined || !this.#trusts(peer)) return clientKey(peer);
    const value = request.headers[this.#header];
    const hops = (Array.isArray(value) ? value.join(',') : (value ?? '')).split(',').slice(-MAX_HOPS);
    let client = peer;
    for (const hop of hops.reverse()) {
      const address = plain(hop.trim());
      if (isIP(address) === 0) break;
      client = address;
      if (!this.#trusts(address)) break;
    }
    return clientKey(client);
  }

  #trusts(address: string): boolean {
    return isIP(address) !== 0 && this.#trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}

/** An IPv4 client on a socket of both families is `::ffff:192.0.2.1` there. A zone is not the address's. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
}

/** Under which an address is counted. */
export function clientKey(address: string): string {
  const text = plain(address);
  if (!isIPv6(text)) return text;
  const [head = '', tail] = text.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(':')}::/64`;
}
