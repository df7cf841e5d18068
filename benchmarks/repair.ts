/**
 * How fast missing shards are rebuilt, and what that does to the event loop: `node --import tsx benchmarks/repair.ts`. Twenty repairs at the same time, each of a
 * shard of 7.5 MB from ten siblings in files, a MiB of rows at a time; once in the thread, once on the event loop for comparison.
 */
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { encodeShards } from '../demo/super-node/erasure.ts'
import { LoopDelay } from '../src/base/loop-delay.ts'
import { rebuildPieces } from '../src/plugins/repair/erasure-code.ts'
import { Erasure, MAX_PIECE_BYTES } from '../src/plugins/repair/erasure.ts'
import { TOTAL_SHARDS } from '../src/protocol/shard-key.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { temporaryDirectory } from '../tools/harness/temporary-directory.ts'

const SIZE = 7_500_000
const REPAIRS = 20
type Rebuild = (pieces: (Uint8Array | undefined)[], wanted: number[]) => Promise<Uint8Array[]>

await withCleanup(async cleanup => {
  const directory = await temporaryDirectory(cleanup)
  const shards = encodeShards(Buffer.alloc(SIZE * 10, 'what is repaired '))
  const files = await Promise.all(shards.map(async (shard, n) => {
    const path = join(directory, String(n))
    await writeFile(path, shard)
    const file = await open(path)
    cleanup.after(async () => { await file.close() })
    return file
  }))
  const rows = async (missing: readonly number[], start: number, length: number): Promise<(Uint8Array | undefined)[]> => await Promise.all(files.map(async (file, n) => {
    if (missing.includes(n)) return undefined
    const piece = Buffer.allocUnsafeSlow(length)
    await file.read(piece, 0, length, start)
    return piece
  }))
  const repair = async (rebuild: Rebuild, n: number): Promise<void> => {
    const wanted = n % TOTAL_SHARDS
    const missing = [0, 1, 2, 3].map(step => (wanted + step * 3) % TOTAL_SHARDS)
    for (let start = 0; start < SIZE; start += MAX_PIECE_BYTES) {
      const [piece] = await rebuild(await rows(missing, start, Math.min(MAX_PIECE_BYTES, SIZE - start)), [wanted])
      if (piece === undefined || !shards[wanted]?.subarray(start, start + piece.length).equals(piece)) throw new Error(`shard ${wanted} is wrong at ${start}`)
    }
  }
  const erasure = new Erasure()
  cleanup.after(async () => { await erasure.close() })
  await repair(async (pieces, wanted) => await erasure.rebuild(pieces, wanted), 0)
  const loop = new LoopDelay()
  cleanup.after(() => { loop.stop() })
  const measure = async (title: string, work: () => Promise<void>): Promise<void> => {
    loop.take()
    const [from, usage] = [performance.now(), process.cpuUsage()]
    await work()
    const seconds = (performance.now() - from) / 1_000
    const { user, system } = process.cpuUsage(usage)
    const read = REPAIRS * SIZE * 10 / 1e6
    const rate = title === 'idle' ? '' : `${(read / 10 / seconds).toFixed(1)} MB/s rebuilt from ${(read / seconds).toFixed(0)} MB/s of siblings (${(read / ((user + system) / 1e6)).toFixed(0)} MB per CPU second), `
    console.log(`${title.padEnd(20)} ${rate}event-loop delay p99 ${loop.take().toFixed(1)} ms`)
  }
  const all = async (rebuild: Rebuild): Promise<void> => {
    await Promise.all(Array.from({ length: REPAIRS }, async (_, n) => { await repair(rebuild, n) }))
  }
  await measure('idle', async () => { await delay(3_000) })
  await measure('in the thread', async () => { await all(async (pieces, wanted) => await erasure.rebuild(pieces, wanted)) })
  await measure('on the event loop', async () => { await all(async (pieces, wanted) => rebuildPieces(pieces, wanted)) })
})
