import { seededRandom } from '../../demo/super-node/faults.ts'
import { requestSource } from '../request-mix.ts'
import type { LoadOrder } from './orders.ts'
import { arrivals } from './schedule.ts'
import { pause, type Tally, type Viewer } from './viewer.ts'

/** After the end of the schedule, requests that wait for their turn get as long again, and this much at least, milliseconds. */
const GRACE_MS = 10_000

/** Requests of one viewer, `streams` at the same time, each stream by a schedule of its own or, without one, in a closed loop. */
export async function request (viewer: Viewer, order: LoadOrder, tally: Tally, start: number): Promise<void> {
  const streams = Array.from({ length: order.streams }, (_, stream) => viewer.slot * order.streams + stream)
  await Promise.all(streams.map(async slot => await (order.gapMs > 0 ? openLoop(viewer, slot, order, tally, start) : closedLoop(viewer, slot, order, tally, start))))
}

async function openLoop (viewer: Viewer, slot: number, order: LoadOrder, tally: Tally, start: number): Promise<void> {
  const source = requestSource(order.mix, order.seed, slot)
  const schedule = arrivals(order.arrivals, 1_000 / order.gapMs, order.seconds, seededRandom(order.seed + Math.imul(slot + 1, 0x85eb_ca6b)))
  const giveUpAt = start + order.seconds * 1_000 + Math.max(GRACE_MS, order.seconds * 1_000)
  for (const [index, at] of schedule.entries()) {
    await pause(start + at)
    if (performance.now() > giveUpAt) {
      tally.gaveUp(schedule.length - index)
      return
    }
    await tally.fetch(viewer.client, source(), start + at)
  }
}

async function closedLoop (viewer: Viewer, slot: number, order: LoadOrder, tally: Tally, start: number): Promise<void> {
  const source = requestSource(order.mix, order.seed, slot)
  const end = start + order.seconds * 1_000
  for (let sent = 0; sent < (order.requestsPerStream ?? Infinity); sent++) {
    const now = performance.now()
    if (order.requestsPerStream === undefined && now >= end) return
    await tally.fetch(viewer.client, source(), now)
  }
}
