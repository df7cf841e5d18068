import type { Scenario } from '../scenario.ts'
import { admin } from './admin.ts'
import { conditional } from './conditional.ts'
import { hit1mb } from './hit-1mb.ts'
import { hit8mb } from './hit-8mb.ts'
import { miss } from './miss.ts'
import { mixed } from './mixed.ts'
import { range } from './range.ts'
import { zipf } from './zipf.ts'

/** Every HTTP scenario, in the order of `npm run load -- list`. */
export const SCENARIOS: readonly Scenario[] = [hit1mb, hit8mb, range, conditional, miss, admin, mixed, zipf]
