/*
 * What one grant of the fair-share scheduler costs while 10, 1,000 and 10,000 viewers wait: `node --import tsx benchmarks/fair-share.ts`.
 * Measured are asking, waiting in the queue, being chosen and being charged. Prints one table.
 */
import { FairShare } from '../src/pacing/fair-share.ts'

const GRANTS = 300_000
const ROUNDS = 5
const CHUNK = 256 * 1024

/** Nanoseconds per grant. */
function measure (viewers: number, limits: (index: number) => { weight: number, capBps?: number, floorBps?: number }): number {
  const totalBps = 1e10
  const share = new FairShare<number>({ totalBps, maxViewers: viewers, maxWaiting: viewers * 2 }, 0)
  let ticket = 0
  let granted = 0
  let now = 0
  /** Asks until it has to wait. */
  const ask = (id: string): void => {
    while (share.request(id, ticket++, CHUNK, now) > 0) granted += 1
  }
  for (let index = 0; index < viewers; index++) share.join(`v${index}`, limits(index), 0)
  for (let index = 0; index < viewers; index++) ask(`v${index}`)
  granted = 0
  const start = process.hrtime.bigint()
  while (granted < GRANTS) {
    // Wakes come a millisecond apart, as timers do.
    now = Math.max(now + 1, share.nextAt(now) ?? now)
    for (const { id } of share.advance(now)) {
      granted += 1
      ask(id)
    }
  }
  return Number(process.hrtime.bigint() - start) / granted
}

const mixes = {
  'equal viewers': () => ({ weight: 1 }),
  'weights and floors': (index: number) => ({ weight: 1 + index % 4, floorBps: 1e5 }),
  // A tenth waits for its own cap.
  'one in ten capped': (index: number) => index % 10 === 0 ? { weight: 1, capBps: 5e5 } : { weight: 1 }
}
console.log('ns per grant, best of', ROUNDS)
for (const [name, limits] of Object.entries(mixes)) {
  const costs = [10, 1000, 10_000].map(viewers => {
    const runs = Array.from({ length: ROUNDS }, () => measure(viewers, limits))
    return `${viewers} viewers: ${Math.round(Math.min(...runs))}`
  })
  console.log(name.padEnd(20), costs.join('   '))
}
