/** A path between viewers and a relay in a process of its own: told over IPC what it is like, answers with the port to use. */
import { seededRandom } from '../demo/super-node/faults.ts'
import { startProxy, type ProxyOptions, type UdpProxy } from '../tools/harness/udp-proxy.ts'

export interface PathOrder extends Required<Omit<ProxyOptions, 'drop' | 'tamper'>> {
  readonly serverPort: number
  /** Share of packets lost, each way. */
  readonly loss: number
  readonly seed: number
}

let path: UdpProxy | undefined

process.on('message', message => {
  const { serverPort, seed, loss, ...options } = message as PathOrder
  // The same losses in every run.
  const random = seededRandom(seed)
  path?.close()
  startProxy(serverPort, { ...options, drop: () => random() < loss }).then(opened => {
    path = opened
    process.send?.(opened.port)
  }, () => { process.exit(1) })
})
process.on('disconnect', () => { process.exit(0) })
