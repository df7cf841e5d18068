import { Crowd, range, spawnShared, machineNow } from '../test/support/bandwidth-rig.ts'
import { withCleanup } from '../benchmarks/cleanup.ts'
import { cpuMs, gatewayPid } from '../test/support/gateway-process.ts'
const http = process.argv.includes('--http')
await withCleanup(async cleanup => {
  const relay = await spawnShared(cleanup, Number(process.argv.find(a => a.startsWith('--bps='))?.slice(6) ?? 100e6))
  const gw = await gatewayPid(relay.pid) ?? 0
  const crowd = new Crowd(cleanup, relay)
  const show = async (ids: number[], from: number, to: number, label: string) => {
    const rates = ids.map(id => crowd.rate(id, from, to) / 1e6).sort((a, b) => a - b)
    console.log(label, 'min', rates[0]?.toFixed(3), 'median', rates[rates.length >> 1]?.toFixed(3), 'max', rates.at(-1)?.toFixed(3), 'sum', rates.reduce((a, b) => a + b, 0).toFixed(1))
  }
  const cpu = async () => [await cpuMs(relay.pid), await cpuMs(gw)]
  const t0 = machineNow()
  if (http) { await Promise.all([crowd.join('webtransport', range(0, 34)), crowd.join('http', range(34, 50))]) }
  else await crowd.join('webtransport', range(0, 50))
  console.log('joined 50', machineNow() - t0)
  await crowd.after(2000)
  let c = await cpu()
  let from = machineNow(); let to = await crowd.after(3000)
  console.log('cpu/3s', (await cpu()).map((v, i) => v - (c[i] ?? 0)))
  await show(range(0, 50), from, to, '50')
  if (process.argv.includes('--short')) { relay.child.kill('SIGTERM'); await relay.exit; return }
  const t1 = machineNow()
  if (http) { await Promise.all([crowd.join('webtransport', range(50, 56)), crowd.join('http', range(56, 60))]) }
  else await crowd.join('webtransport', range(50, 60))
  console.log('joined 10', machineNow() - t1)
  await crowd.after(1500)
  from = machineNow(); to = await crowd.after(4000)
  await show(range(0, 60), from, to, '60')
  if (http) { await show([...range(34, 50), ...range(56, 60)], from, to, '60 http'); await show([...range(0, 34), ...range(50,56)], from, to, '60 wt') }
  crowd.leave(range(0, 30))
  await crowd.after(1500)
  from = machineNow(); to = await crowd.after(3000)
  await show(range(30, 60), from, to, '30')
  if (http) { await show([...range(34, 50), ...range(56, 60)], from, to, '30 http'); await show([...range(30, 34), ...range(50,56)], from, to, '30 wt') }
  console.log(crowd.failures.slice(0, 5))
  const count: Record<string, number> = {}
  for (const h of crowd.heard) count[`${h.rendition}`] = (count[h.rendition] ?? 0) + 1
  console.log(count)
  for (const id of [0, 35, 55, 59]) console.log(id, crowd.heard.filter(h => h.id === id).map(h => `${Math.round(h.at - t0)}:${h.rendition}/${(h.bitsPerSecond/1e6).toFixed(2)}`).join(' '))
  console.log((await (await fetch(`${relay.adminUrl}/metrics`)).text()).split('\n').filter(l => l.startsWith('icn_relay_bandwidth')).join('\n'))
})
process.exit(0)
