import { Throttle } from '../src/throttle/throttle.ts'
import { gather } from '../src/bandwidth/gather.ts'
import { systemClock, systemTimers } from '../src/clock.ts'
const bps = Number(process.argv[2]); const n = Number(process.argv[3]); const want = Number(process.argv[4])
const throttle = new Throttle({ clock: systemClock, timers: { now: systemTimers.now, after: (ms, cb) => systemTimers.after(Math.max(ms, Number(process.argv[5] ?? 0)), cb) }, totalBps: bps, maxViewers: 1000, maxWaiting: 65536 })
const signal = new AbortController().signal
let bytes = 0, grants = 0, stop = false
const keep = setInterval(() => {}, 1000)
const c = process.cpuUsage(); const t = performance.now()
const loops = Array.from({ length: n }, async (_, i) => { const a = throttle.join(`v${i}`, { weight: 1 }); while (!stop) { const g = await gather(a, want, new AbortController().signal); bytes += g; grants++; if (grants % 50 === 0) await new Promise(r => setImmediate(r)) } })
setTimeout(() => { stop = true; clearInterval(keep); const u = process.cpuUsage(c); const dt = performance.now() - t; console.log({ mbps: bytes * 8 / dt / 1000, cpuPct: (u.user + u.system) / 10 / dt, perMB: (u.user + u.system) / 1000 / (bytes / 1e6) }); process.exit(0) }, 4000)
await Promise.all(loops)
