/** Some of the viewers of a run, in a process of their own: opens sessions, loads the relay, tells what it measured; one order after the other. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { cpuUsage } from 'node:process'
import { connect } from '../../client/src/node.ts'
import { parseShardPath } from '../../src/protocol/shard-key.ts'
import { TimeHistogram } from '../histogram.ts'
import { requestSource } from '../request-mix.ts'
import { trueBytes } from '../scenario.ts'
import type { LoadOrder, LoadOutcome, OpenOrder, OpenOutcome, VerifyOrder, VerifyOutcome, ViewerOrder, ViewerOutcome } from './orders.ts'
import { play } from './play.ts'
import { request } from './request.ts'
import { pause, Tally, type Viewer } from './viewer.ts'

/** A server that is overloaded is late, and that is what is measured; only one that is gone is given up. */
const CONNECT_TIMEOUT_MS = 30_000
const STALL_MS = 30_000

let viewers: Viewer[] = []

async function open (order: OpenOrder): Promise<OpenOutcome> {
  const handshake = new TimeHistogram()
  const texts = new Set<string>()
  let failed = 0
  const start = performance.now()
  const opened = await Promise.all(Array.from({ length: order.sessions }, async (_, index): Promise<Viewer[]> => {
    const due = start + order.rampMs * index / order.sessions
    await pause(due)
    let connections = 0
    try {
      const client = await connect(order.relayUrl, {
        transports: [order.transport],
        attempts: 1,
        concurrency: order.streams,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        stallMs: STALL_MS,
        onTransport: () => { connections++ }
      })
      handshake.record(Math.max(0, performance.now() - due))
      return [{ client, slot: order.firstSlot + index, connections: () => connections }]
    } catch (error) {
      failed++
      texts.add(String(error))
      return []
    }
  }))
  viewers = opened.flat()
  return { opened: viewers.length, failed, handshake: handshake.encode(), errorTexts: [...texts].slice(0, 5) }
}

async function load (order: LoadOrder): Promise<LoadOutcome> {
  const tally = new Tally(order)
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const before = viewers.map(({ connections }) => connections())
  const cpu = cpuUsage()
  const start = performance.now()
  await Promise.all(viewers.map(async viewer => await (order.playback === undefined ? request(viewer, order, tally, start) : play(viewer, order, order.playback, tally, start))))
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = cpuUsage(cpu)
  delay.disable()
  const lost = viewers.reduce((sum, { connections }, index) => sum + connections() - (before[index] ?? 0), 0)
  return { ...tally.outcome(), seconds, lost, cpuMs: (user + system) / 1_000, loopDelayP99Ms: delay.percentile(99) / 1e6 }
}

async function verify (order: VerifyOrder): Promise<VerifyOutcome> {
  const [viewer] = viewers
  if (viewer === undefined) return { bodies: 0, wrong: 0 }
  // A slot that no stream of a run has.
  const source = requestSource(order.mix, order.seed, 1_000_000 + viewer.slot)
  let wrong = 0
  for (let sample = 0; sample < order.samples; sample++) {
    const { path } = source()
    const { cid, part } = parseShardPath(path)
    const bytes = await viewer.client.fetchShard(cid, Number(part), { verify: false }).then(result => Buffer.from(result.bytes), () => undefined)
    if (bytes === undefined || trueBytes(path)?.equals(bytes) !== true) wrong++
  }
  return { bodies: order.samples, wrong }
}

function close (): Record<string, never> {
  for (const { client } of viewers) client.close()
  viewers = []
  return {}
}

async function carryOut (order: ViewerOrder): Promise<ViewerOutcome> {
  switch (order.type) {
    case 'open': return await open(order)
    case 'load': return await load(order)
    case 'verify': return await verify(order)
    case 'close': return close()
  }
}

process.on('message', message => {
  carryOut(message as ViewerOrder).then(outcome => { process.send?.({ outcome }) }, (error: unknown) => { process.send?.({ error: String(error) }) })
})
process.on('disconnect', () => { process.exit(0) })
