import Type from 'typebox'
import { bytes, count, ms, OriginUrl, percent, section } from '../../config/parts.ts'

/** Keys of `[overload]`. */
export const overloadConfig = section({
  sample_ms: Type.Integer({ minimum: 50, maximum: 10_000, default: 500, unit: 'time', description: 'how often the signals of overload are looked at, milliseconds' }),
  window_samples: count(5, 100, 'latest samples that decide whether a level begins'),
  enter_samples: count(3, 100, 'how many of them must reach its threshold, the newest among them: one long turn of the event loop is not overload'),
  leave_degraded_ms: ms(10_000, 'time without a sample above the leave threshold after which degraded ends'),
  leave_shedding_ms: ms(5_000, 'the same for shedding'),
  leave_percent: percent(90, 'where a level ends, of where it begins; what lies between changes nothing'),
  degraded_delay_ms: ms(150, 'event-loop delay, of the relay or the gateway, at which degraded begins; a healthy machine of two cores under full load has 30 to 80'),
  shedding_delay_ms: ms(500, 'event-loop delay at which shedding begins: all the time a viewer has for the first byte of a miss'),
  degraded_memory_percent: percent(80, 'heap of its limit, resident memory of memory_bytes, that of the gateway of transport.max_rss_bytes: where degraded begins'),
  shedding_memory_percent: percent(92, 'the same for shedding, without the gateway, which is replaced at 100'),
  degraded_load_percent: percent(80, 'sessions of transport.max_sessions, fills of upstream.max_fills, descriptors of those that viewers may have: where degraded begins'),
  shedding_load_percent: percent(95, 'the same for shedding, while there is room to tell viewers where to go'),
  memory_bytes: bytes(0, 0, 'resident memory the relay process may have (0: the memory of the machine or container)'),
  alternates: Type.Array(OriginUrl, { default: [], maxItems: 16, description: 'viewer URLs of other relays that new sessions are sent to, in turn, while shedding' }),
  redirect_to_super_nodes: Type.Boolean({ default: false, description: 'without alternates, send them to the nearest super-node that is up; viewers must be able to reach it, and learn its address' })
}, 'What happens under too much load: normal, degraded, shedding.', { live: true })
