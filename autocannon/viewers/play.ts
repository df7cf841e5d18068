import { requestSource } from '../request-mix.ts'
import type { LoadOrder, PlaybackOrder } from './orders.ts'
import { Playback } from './playback.ts'
import { pause, type Tally, type Viewer } from './viewer.ts'

/** Pause after a shard that did not come, milliseconds: about what the client library itself waits before it tries again. */
const RETRY_MS = 250

/** One viewer watches for `order.seconds`: shards in order, one at a time, each when the store of video falls below its target. */
export async function play (viewer: Viewer, order: LoadOrder, { bitsPerSecond, targetMs, spreadMs, viewers }: PlaybackOrder, tally: Tally, start: number): Promise<void> {
  const source = requestSource(order.mix, order.seed, viewer.slot)
  const shardMs = order.bytes * 8_000 / bitsPerSecond
  const pressed = start + spreadMs * viewer.slot / viewers
  await pause(pressed)
  const playback = new Playback(pressed, targetMs)
  const end = pressed + order.seconds * 1_000
  for (let due = pressed; due < end;) {
    await pause(due)
    if (await tally.fetch(viewer.client, source(), due)) playback.delivered(performance.now(), shardMs)
    else await pause(performance.now() + RETRY_MS)
    due = playback.nextAt(performance.now())
  }
  await pause(end)
  const playedMs = playback.leave(performance.now())
  tally.played(playedMs, playback.startupMs, playback.stalls, playback.stalledMs)
}
