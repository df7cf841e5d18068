import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { systemCode } from '../src/base/errors.ts'

/** Where everything of the demo listens, on 127.0.0.1. */
export interface Ports {
  /** NA-WEST, EU-WEST, APAC. */
  readonly superNodes: readonly [number, number, number]
  readonly viewer: number
  readonly websocket: number
  readonly admin: number
}

export const HOST = '127.0.0.1'

/** The ports of DESIGN.md. */
export const DEFAULT_PORTS: Ports = { superNodes: [9002, 9012, 9022], viewer: 9003, websocket: 9004, admin: 9103 }

/** Port of the super-node `index`, 0 to 2. */
export function superNodePort ({ superNodes }: Ports, index: number): number {
  return superNodes[index] ?? 0
}

async function take (port: number): Promise<{ port: number, release: () => Promise<void> }> {
  const server = createServer()
  server.listen(port, HOST)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    release: async () => { await new Promise<void>(resolve => { server.close(() => { resolve() }) }) }
  }
}

/** Replaces each 0 by a free port. All are held until the last is known, so that no two are the same. */
async function fill (ports: readonly number[]): Promise<number[]> {
  const taken = await Promise.all(ports.map(async port => port === 0 ? take(0) : { port, release: async () => {} }))
  await Promise.all(taken.map(async holder => holder.release()))
  return taken.map(holder => holder.port)
}

/**
 * Reads `--ports a,b,c,viewer,admin`; 0 stands for any free port.
 * @throws Error with one line for anything but five ports
 */
export async function parsePorts (text: string): Promise<Ports> {
  const numbers = text.split(',').map(part => /^\d{1,5}$/.test(part.trim()) ? Number(part) : NaN)
  if (numbers.length !== 5 || !numbers.every(port => port <= 65_535)) throw new Error(`--ports takes five ports, super-nodes a,b,c, viewer, admin; not "${text}"`)
  const [a = 0, b = 0, c = 0, viewer = 0, admin = 0, websocket = 0] = await fill([...numbers, 0])
  return { superNodes: [a, b, c], viewer, websocket, admin }
}

/** Names the first port that something else listens on. @throws Error with one line */
export async function requireFree (ports: Ports): Promise<void> {
  const [a, b, c] = ports.superNodes
  const uses: Array<[string, number]> = [['super-node NA-WEST', a], ['super-node EU-WEST', b], ['super-node APAC', c], ['viewer', ports.viewer], ['WebSocket', ports.websocket], ['admin', ports.admin]]
  for (const [use, port] of uses) {
    try {
      await (await take(port)).release()
    } catch (error) {
      const why = systemCode(error) === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${systemCode(error) ?? String(error)})`
      throw new Error(`port ${port} (${use}) ${why}; stop what holds it, or run npm run demo -- --random-ports`)
    }
  }
}
