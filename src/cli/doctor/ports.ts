import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { systemCode } from '../../base/errors.ts'
import type { Listener } from '../../config/listeners.ts'
import { fail, ok, type Diagnosis } from './diagnosis.ts'

/** Code of the error with which a port cannot be bound now; undefined when it can. */
export async function bindError ({ protocol, host, port }: Listener): Promise<string | undefined> {
  try {
    if (protocol === 'udp') {
      const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
      socket.bind({ port, address: host, exclusive: true })
      await once(socket, 'listening').finally(() => { socket.close() })
    } else {
      const server = createServer().listen({ port, host, exclusive: true })
      await once(server, 'listening')
      server.close()
      await once(server, 'close')
    }
    return undefined
  } catch (error) {
    return systemCode(error) ?? String(error)
  }
}

const CURES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'see who has it (ss -lntup), end that, or choose another port',
  EACCES: 'a port below 1024 needs CAP_NET_BIND_SERVICE, as deploy/icn-relay.service gives it, or choose another port',
  EADDRNOTAVAIL: 'no interface of this machine has that address: correct the host',
  ENOTFOUND: 'that is no address and no known name: correct the host'
}

/** @param running whether a relay of this configuration answers: the ports are its own then */
export function checkPorts (listeners: readonly (Listener & { readonly error: string | undefined })[], running: boolean): Diagnosis[] {
  return listeners.map(({ key, protocol, host, port, error }) => {
    const name = `${key} ${protocol}`
    if (error === undefined) return ok(name, `${host}:${port} is free`)
    if (error === 'EADDRINUSE' && running) return ok(name, `${host}:${port} is in use, by the relay that runs`)
    return fail(name, `${host}:${port} cannot be listened on: ${error}`, CURES[error] ?? 'correct host and port')
  })
}
