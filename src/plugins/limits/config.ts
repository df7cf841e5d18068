import { count, section } from '../../config/parts.ts'

/** Keys of `[limits]`. */
export const limitsConfig = section({
  handshakes_per_second: count(100, 1_000_000, 'handshakes per second in total, of viewer sessions and, apart from those, of TLS connections to viewer HTTP'),
  handshakes_per_second_per_ip: count(10, 1_000_000, 'the same per second and address; trusted proxies are excepted'),
  tracked_ips: count(10_000, 1_000_000, 'addresses remembered at most, for handshakes and for requests each; exact while at least twice handshakes_per_second'),
  requests_per_second_per_viewer: count(200, 1_000_000, 'requests per second of one address, over all its sessions and HTTP; more are answered with 429'),
  responses_per_ip: count(1_024, 1_000_000, 'responses of one address under way at the same time, over all its sessions and HTTP; more are answered with 429'),
  connections_per_ip: count(256, 1_000_000, 'viewer HTTP connections of one address at the same time, trusted proxies excepted; more are closed on accept')
}, 'Admission of viewers. IPv6 addresses count by their /64.', { live: true })
