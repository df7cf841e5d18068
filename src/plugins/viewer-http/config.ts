import Type from 'typebox'
import { count, host, ms, port, section, transportPorts } from '../../config/parts.ts'

/** Keys of `[viewer]`. */
export const viewerConfig = section({
  host: host('0.0.0.0', 'address the viewer HTTP listener binds'),
  port: port(9003, 'viewer port'),
  ...transportPorts,
  require_ticket: Type.Boolean({ default: true, description: 'WebTransport sessions need a ticket of `GET /v1/transport`, which carries the address of its viewer; without, those that come without one share the limits of one address' }),
  player: Type.Boolean({ default: false, description: 'serve the demo player page at /player/' }),
  max_connections: count(10_000, 1_000_000, 'viewer connections at the same time; more are closed on accept'),
  max_responses: count(10_000, 1_000_000, 'responses under way at the same time, over HTTP and sessions; more are answered with 503'),
  trusted_proxies: Type.Array(Type.String({ maxLength: 64 }), { default: [], maxItems: 256, description: 'addresses and networks (`"10.0.0.0/8"`) of reverse proxies before viewer HTTP: of a request from one of them `x-forwarded-for`, `-proto` and `-host` say who the viewer is and what was asked for' }),
  request_timeout_ms: ms(10_000, 'time a viewer has to send a whole request head'),
  idle_timeout_ms: ms(60_000, 'silence on a connection, or a response nobody reads, after which it is closed'),
  lame_duck_ms: Type.Integer({ minimum: 0, maximum: 3_600_000, default: 0, unit: 'time', description: 'time between the signal to stop and the stop, in which `/ready` says 503, sessions are asked to move, and everything is still served, milliseconds; for a load balancer to notice' }),
  stop_timeout_ms: ms(10_000, 'time responses in flight get to finish when the relay stops')
}, 'What viewers connect to.')
