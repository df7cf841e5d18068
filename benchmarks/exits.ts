/**
 * Whether processes with the engine end as they should: `node --import tsx benchmarks/exits.ts [--runs=100]`. In turns a relay is told to stop
 * when it is idle, a relay is told to stop while viewers fetch over WebTransport, and a viewer ends in the middle of a fetch. Ends with 1 when
 * one of them did not end with 0, when its gateway ended otherwise than told, or when one wrote to standard error.
 */
import { startSuperNode } from '../demo/super-node/server.ts'
import { connect } from '../client/src/node.ts'
import { startChild } from '../tools/harness/child.ts'
import { withCleanup, type Cleanup } from '../tools/harness/cleanup.ts'
import { gatewayPid } from '../tools/harness/gateway-process.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, type SpawnedRelay } from '../tools/harness/processes.ts'
import { line } from './contender.ts'

const RUNS = Number(process.argv.find(argument => argument.startsWith('--runs='))?.slice(7) ?? 100)
const CID = 'syn-1000000-exits'
const VIEWERS = 4
/** Bytes that have arrived when the relay is told to stop. */
const UNDER_WAY = 8_000_000

interface End { readonly ms: number, readonly faults: readonly string[] }
type Origin = Awaited<ReturnType<typeof startSuperNode>>

const start = async (cleanup: Cleanup, origin: Origin): Promise<SpawnedRelay> => await spawnRelay(cleanup, [origin], { transport: { engine: 'quinn' }, viewer: { stop_timeout_ms: 1_000 } })

async function stop (relay: SpawnedRelay): Promise<End> {
  if (await gatewayPid(relay.pid) === undefined) return { ms: 0, faults: ['no gateway'] }
  const told = performance.now()
  relay.child.kill('SIGTERM')
  const { code, signal } = await relay.exit
  const faults = relay.events.filter(({ msg }) => String(msg).startsWith('gateway ended')).map(({ reason, code: status, signal: by }) => `gateway ended: ${JSON.stringify({ reason, status, by })}`)
  if (code !== 0) faults.push(`relay ended with ${code ?? signal ?? ''}`)
  if (relay.stderr() !== '') faults.push(`relay said ${relay.stderr().slice(0, 200)}`)
  return { ms: performance.now() - told, faults }
}

/** Until the relay has gone. */
async function watch (url: string, received: (bytes: number) => void): Promise<void> {
  const client = await connect(url, { transports: ['webtransport'] })
  try {
    for (let part = 0; ; part = (part + 1) % 14) received((await client.fetchShard(CID, part)).bytes.length)
  } catch {
  } finally {
    client.close()
  }
}

const KINDS: Record<string, (cleanup: Cleanup, origin: Origin) => Promise<End>> = {
  'a relay without viewers': async (cleanup, origin) => await stop(await start(cleanup, origin)),
  'a relay with viewers in the middle of fetches': async (cleanup, origin) => {
    const relay = await start(cleanup, origin)
    let bytes = 0
    const watching = { enough: () => {} }
    const enough = new Promise<void>(resolve => { watching.enough = resolve })
    const viewers = Promise.all(Array.from({ length: VIEWERS }, async () => {
      await watch(relay.viewerUrl, count => {
        bytes += count
        if (bytes >= UNDER_WAY) watching.enough()
      })
    }))
    await Promise.race([enough, viewers])
    const end = await stop(relay)
    await viewers
    return bytes < UNDER_WAY ? { ...end, faults: [...end.faults, `only ${bytes} bytes arrived`] } : end
  },
  'a viewer in the middle of a fetch': async (cleanup, origin) => {
    const relay = await start(cleanup, origin)
    const viewer = startChild(cleanup, 'benchmarks/leaving-viewer.ts', { args: [relay.viewerUrl, CID] })
    await viewer.waitFor(({ event }) => event === 'leaving')
    const leftAt = performance.now()
    const { code, signal } = await viewer.exit
    const ms = performance.now() - leftAt
    const said = viewer.stderr()
    const { faults } = await stop(relay)
    return { ms, faults: [...faults, ...code === 0 && said === '' ? [] : [`viewer ended with ${code ?? signal ?? ''}: ${said.slice(0, 200)}`]] }
  }
}

const ends = new Map<string, End[]>(Object.keys(KINDS).map(name => [name, []]))
const origin = await startSuperNode({ port: 0 })
for (let run = 0; run < RUNS; run++) for (const [name, once] of Object.entries(KINDS)) ends.get(name)?.push(await withCleanup(async cleanup => await once(cleanup, origin)))
await origin.close()
line('what ends', 'runs', 'faults', 'ms from the word to the end, median', 'at most')
line('---', '---', '---', '---', '---')
for (const [name, all] of ends) {
  const times = all.map(({ ms }) => ms)
  line(name, all.length, all.filter(({ faults }) => faults.length > 0).length, median(times).toFixed(0), Math.max(...times).toFixed(0))
}
const faults = [...ends.values()].flat().flatMap(end => end.faults)
for (const fault of new Set(faults)) process.stdout.write(`${faults.filter(other => other === fault).length} × ${fault}\n`)
process.exit(faults.length > 0 ? 1 : 0)
