/** `udp-proxy.ts` in a process of its own: told port and path over IPC, answers with the port to use. */
import { openPath, type PathOptions, type UdpPath } from './udp-proxy.ts'

export interface PathOrder extends Omit<PathOptions, 'random'> { readonly serverPort: number, readonly seed: number }

let path: UdpPath | undefined

/** A linear congruential generator: the same losses in every run. */
function seeded (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

process.on('message', message => {
  const { serverPort, seed, ...options } = message as PathOrder
  path?.close()
  openPath(serverPort, { ...options, random: seeded(seed) }).then(opened => {
    path = opened
    process.send?.(opened.port)
  }, () => { process.exit(1) })
})
process.on('disconnect', () => { process.exit(0) })
