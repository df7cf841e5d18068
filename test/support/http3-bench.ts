/**
 * Measures the bundled engine over the loopback interface, server and client in processes of their own:
 * `node --import tsx test/support/http3-bench.ts [runs] [sessions] [cubic|reno|bbr] [delayMs lossPercent Mbit]`
 * prints medians of MB/s and of the server's and client's CPU milliseconds per MB (10^6 bytes).
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { median } from '../../benchmarks/median.ts'
import { connectHttp3 } from '../../src/gateway/transports/http3/client.ts'
import { createBundledTransport } from '../../src/gateway/transports/http3/server.ts'
import { fetchBytes, makeCertificate, pattern, serveBytes } from './http3-setup.ts'
import { startProxy } from './http3-udp-proxy.ts'

const MIB = 1024 * 1024
const [runs = '5', sessions = '1', congestion = 'cubic', delay, loss, mbit] = process.argv.slice(2)
const congestionControl = congestion === 'bbr' || congestion === 'reno' ? congestion : 'cubic'

function cpuMs (usage: NodeJS.CpuUsage): number {
  return (usage.user + usage.system) / 1000
}

async function serve (): Promise<void> {
  const tls = makeCertificate()
  const listener = await createBundledTransport({ congestionControl }).listen({
    host: '127.0.0.1', port: 0, tls, path: '/bench', maxSessions: 1000, maxStreamsPerSession: 1000, handshakeTimeoutMs: 5000, idleTimeoutMs: 30_000
  }, {
    decide: () => ({ accept: true }),
    session: serveBytes(pattern(8 * MIB)),
    handshakeFailed: (reason, detail) => { console.error('handshake', reason, detail) },
    log: (level, message, fields) => { if (level !== 'debug') console.error(level, message, fields) }
  })
  process.on('message', (message) => {
    if (message === 'cpu') process.send?.({ cpu: cpuMs(process.cpuUsage()), rss: process.memoryUsage().rss })
    else listener.close().then(() => process.exit(0), () => process.exit(1))
  })
  process.send?.({ port: listener.port, hash: tls.hash.toString('base64') })
}

async function measure (): Promise<void> {
  const child = fork(new URL(import.meta.url).pathname, process.argv.slice(2), { env: { ...process.env, HTTP3_BENCH_SERVER: '1' }, execArgv: process.env.HTTP3_BENCH_PROF === undefined ? process.execArgv : [...process.execArgv, '--cpu-prof', '--cpu-prof-dir=/tmp/http3-prof'] })
  const [hello] = await once(child, 'message') as [{ port: number, hash: string }]
  const childCpu = async (): Promise<{ cpu: number, rss: number }> => {
    child.send('cpu')
    const [answer] = await once(child, 'message') as [{ cpu: number, rss: number }]
    return answer
  }
  let port = hello.port
  if (delay !== undefined) {
    let state = 1
    const proxy = await startProxy(port, {
      delayMs: Number(delay),
      ...(mbit === undefined ? {} : { bitsPerSecond: Number(mbit) * 1e6 }),
      drop: () => {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
        return (state >>> 8) % 1000 < Number(loss ?? 0) * 10
      }
    })
    port = proxy.port
  }
  const clients = await Promise.all(Array.from({ length: Number(sessions) }, () => connectHttp3(`https://127.0.0.1:${port}/bench`, {
    certificateHashes: [{ algorithm: 'sha-256', value: Buffer.from(hello.hash, 'base64') }]
  })))
  for (const size of [MIB, 8 * MIB]) {
    const rates: number[] = []
    const serverCosts: number[] = []
    const clientCosts: number[] = []
    const count = Math.max(1, Math.round((delay === undefined ? 64 : 16) * MIB / size / clients.length))
    for (let run = 0; run <= Number(runs); run++) {
      const before = await childCpu()
      const own = process.cpuUsage()
      const start = performance.now()
      await Promise.all(clients.map(async (client) => {
        for (let index = 0; index < count; index++) {
          const { length } = await fetchBytes(client, size)
          if (length !== size) throw new Error(`${length} bytes instead of ${size}`)
        }
      }))
      const seconds = (performance.now() - start) / 1000
      const megabytes = size * count * clients.length / 1e6
      // The first run warms up the compiler and the congestion window.
      if (run === 0) continue
      rates.push(megabytes / seconds)
      serverCosts.push(((await childCpu()).cpu - before.cpu) / megabytes)
      clientCosts.push(cpuMs(process.cpuUsage(own)) / megabytes)
    }
    const { rss } = await childCpu()
    console.log(`${congestionControl} ${clients.length} sessions, ${size / MIB} MiB answers: ${median(rates).toFixed(1)} MB/s, ` +
      `server ${median(serverCosts).toFixed(1)} CPU ms/MB, client ${median(clientCosts).toFixed(1)} CPU ms/MB, server RSS ${(rss / 1e6).toFixed(0)} MB`)
  }
  for (const client of clients) client.close()
  child.send('stop')
  await once(child, 'exit')
  process.exit(0)
}

await (process.env.HTTP3_BENCH_SERVER === undefined ? measure() : serve())
