/** A path between viewers and a relay in a process of its own: told over IPC what it is like, answers with the port to use. */
import { startProxy, type ProxyOptions, type UdpProxy } from '../test/support/http3-udp-proxy.ts'

export interface PathOrder extends Required<Omit<ProxyOptions, 'drop' | 'tamper'>> {
  readonly serverPort: number
  /** Share of packets lost, each way. */
  readonly loss: number
  readonly seed: number
}

let path: UdpProxy | undefined

/** A linear congruential generator: the same losses in every run. */
function seeded (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

process.on('message', message => {
  const { serverPort, seed, loss, ...options } = message as PathOrder
  const random = seeded(seed)
  path?.close()
  startProxy(serverPort, { ...options, drop: () => random() < loss }).then(opened => {
    path = opened
    process.send?.(opened.port)
  }, () => { process.exit(1) })
})
process.on('disconnect', () => { process.exit(0) })
