/**
 * Whether hashing bodies belongs on the event loop: `node --import tsx benchmarks/hash-thread.ts [rounds]`.
 * Bodies of 1 MiB come from super-nodes in a process of their own, 16 at the same time, and are hashed as a fill does it: not at all; the whole (`cache.integrity`
 * "digest"); the whole and every block of 128 KiB (a manifest with blocks); the same with a turn of the event loop after each block; both with the blocks on libuv's threads (`subtle.digest`, which copies); both in one
 * worker thread, which is given a copy of every chunk and answers with each digest. In turns; medians of the rounds: MB/s, CPU of the process, and the delay of
 * its event loop. Then what one piece costs to hash here and to hand over.
 */
import { createHash, webcrypto } from 'node:crypto'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { loadavg } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { request } from 'undici'
import { startChild } from '../tools/harness/child.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { median } from '../tools/harness/median.ts'
import { line } from './contender.ts'
import type { OriginsReady } from './integrity-origins.ts'

const ROUNDS = Number(process.argv[2] ?? 5)
const PARALLEL = 16
const BODIES = 320
const BLOCK = 131_072

/** What is done with a body, chunk by chunk, and at its end. */
interface Hashing { take (chunk: Buffer): Promise<void> | undefined, end (): Promise<void> | undefined }

const WORKER = `
const { parentPort } = require('node:worker_threads')
const { createHash } = require('node:crypto')
const bodies = new Map()
parentPort.on('message', ({ body, chunk, block, end }) => {
  const state = bodies.get(body) ?? { whole: createHash('sha256'), block: createHash('sha256') }
  bodies.set(body, state)
  if (chunk !== undefined) { state.whole.update(chunk); state.block.update(chunk) }
  if (block) { parentPort.postMessage({ body, digest: state.block.digest() }); state.block = createHash('sha256') }
  if (end) { parentPort.postMessage({ body, digest: state.whole.digest() }); bodies.delete(body) }
})`

await withCleanup(async cleanup => {
  const { superNodes } = await startChild(cleanup, 'benchmarks/integrity-origins.ts', { args: ['1'] }).answer<OriginsReady>()
  const worker = new Worker(WORKER, { eval: true })
  cleanup.after(async () => { await worker.terminate() })
  const waiting = new Map<number, (() => void)[]>()
  worker.on('message', ({ body }: { body: number }) => { waiting.get(body)?.shift()?.() })
  const digestOf = async (body: number): Promise<void> => {
    await new Promise<void>(resolve => {
      const queue = waiting.get(body) ?? []
      queue.push(resolve)
      waiting.set(body, queue)
    })
  }
  let bodies = 0
  const ways: Readonly<Record<string, () => Hashing>> = {
    none: () => ({ take: () => undefined, end: () => undefined }),
    whole: () => {
      const hash = createHash('sha256')
      return { take: chunk => void hash.update(chunk), end: () => void hash.digest() }
    },
    'whole and blocks': () => {
      const whole = createHash('sha256')
      let block = createHash('sha256')
      let bytes = 0
      return {
        take: chunk => {
          whole.update(chunk)
          block.update(chunk)
          bytes += chunk.length
          if (bytes < BLOCK) return
          block.digest()
          block = createHash('sha256')
          bytes = 0
        },
        end: () => void whole.digest()
      }
    },
    'whole and blocks, a turn for each': () => {
      const whole = createHash('sha256')
      let block = createHash('sha256')
      let bytes = 0
      return {
        take: chunk => {
          whole.update(chunk)
          block.update(chunk)
          bytes += chunk.length
          if (bytes < BLOCK) return undefined
          block.digest()
          block = createHash('sha256')
          bytes = 0
          return nextTurn()
        },
        end: () => void whole.digest()
      }
    },
    'blocks by subtle.digest': () => {
      const whole = createHash('sha256')
      let pieces: Buffer[] = []
      let bytes = 0
      return {
        take: chunk => {
          whole.update(chunk)
          pieces.push(chunk)
          bytes += chunk.length
          if (bytes < BLOCK) return undefined
          const block = Buffer.concat(pieces)
          pieces = []
          bytes = 0
          return webcrypto.subtle.digest('SHA-256', block).then(() => {})
        },
        end: () => void whole.digest()
      }
    },
    'a worker thread': () => {
      const body = bodies++
      let bytes = 0
      return {
        take: chunk => {
          bytes += chunk.length
          const own = new Uint8Array(chunk)
          const block = bytes >= BLOCK
          if (block) bytes = 0
          worker.postMessage({ body, chunk: own, block }, [own.buffer])
          return block ? digestOf(body) : undefined
        },
        end: async () => {
          worker.postMessage({ body, end: true })
          await digestOf(body)
          waiting.delete(body)
        }
      }
    }
  }
  const results = new Map(Object.keys(ways).map(way => [way, [] as { mbps: number, cpu: number, p50: number, p99: number }[]]))
  for (let round = -1; round < ROUNDS; round++) {
    const order = Object.entries(ways)
    for (const [way, hashing] of round % 2 === 0 ? order : order.toReversed()) {
      const delay = monitorEventLoopDelay({ resolution: 1 })
      const cpu = process.cpuUsage()
      const began = performance.now()
      delay.enable()
      let next = 0
      await Promise.all(Array.from({ length: PARALLEL }, async () => {
        while (next++ < BODIES) {
          const { body } = await request(`${superNodes[0]?.url ?? ''}/shards/any/shard_0${next % 10}.bin`)
          const state = hashing()
          for await (const chunk of body as AsyncIterable<Buffer>) await state.take(chunk)
          await state.end()
        }
      }))
      delay.disable()
      const ms = performance.now() - began
      const used = process.cpuUsage(cpu)
      if (round >= 0) results.get(way)?.push({ mbps: BODIES * 1_048.576 / ms, cpu: (used.user + used.system) / 1_000 / (BODIES * 1.048576), p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6 })
    }
  }
  console.log(`${ROUNDS} rounds of ${BODIES} bodies, load ${loadavg()[0]?.toFixed(1)}`)
  line('hashing', 'MB/s', 'CPU ms per MB', 'loop delay p50, ms', 'p99, ms')
  for (const [way, rounds] of results) line(way, ...(['mbps', 'cpu', 'p50', 'p99'] as const).map(name => median(rounds.map(round => round[name])).toFixed(2)))
  const piece = Buffer.alloc(65_536, 7)
  const timed = (work: () => void): string => {
    const times = Array.from({ length: 3_000 }, () => {
      const start = performance.now()
      work()
      return performance.now() - start
    })
    return `${(median(times) * 1_000).toFixed(0)} µs`
  }
  const hash = createHash('sha256')
  console.log(`64 KiB: hashed in ${timed(() => { hash.update(piece) })}, copied and handed to a thread in ${timed(() => {
    const own = new Uint8Array(piece)
    worker.postMessage({ body: -1, chunk: own }, [own.buffer])
  })}`)
})
