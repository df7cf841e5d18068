import Type from 'typebox'
import { count, Region, section } from '../../config/parts.ts'

/** Keys of `[region]`. */
export const regionConfig = section({
  regions: Type.Array(Region, { default: ['NA-WEST', 'NA-EAST', 'EU-WEST', 'EU-EAST', 'APAC', 'LATAM', 'MENA'], minItems: 1, maxItems: 256, description: 'region names in use' }),
  override: Type.String({ pattern: '^[A-Z0-9-]{0,32}$', default: '', live: true, description: 'our own region; super-nodes of it are asked first; empty means the nearest one is detected' }),
  interval_ms: Type.Integer({ minimum: 1_000, maximum: 86_400_000, default: 3_600_000, unit: 'time', description: 'from one detection of the region to the next, milliseconds' }),
  sample_timeout_ms: Type.Integer({ minimum: 1, maximum: 60_000, default: 2_000, unit: 'time', description: 'bound of a whole detection, however many super-nodes there are, milliseconds' }),
  hysteresis_percent: Type.Integer({ minimum: 0, maximum: 99, default: 20, description: 'share of the present latency that another region must save to take its place, percent' }),
  hysteresis_margin_ms: Type.Integer({ minimum: 0, maximum: 10_000, default: 5, unit: 'time', description: 'latency that another region must save as well, milliseconds' }),
  hysteresis_rounds: count(2, 100, 'detections in a row that must agree before the region changes')
}, 'Where the relay stands.')
