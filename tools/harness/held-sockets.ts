import type { TestContext } from 'node:test'

/** What a service manager does for a service: sockets that outlive it. */
export interface HeldSocket {
  readonly name: string
  readonly fd: number
  readonly port: number
}

interface BoundSocket {
  readonly fd: number
  bind (host: string, port: number): number
  getsockname (to: { port?: number }): number
  close (): void
}

/** Of Node itself: its public servers accept what arrives on a socket that they listen on, and whoever holds one for others must not. */
interface TcpBinding {
  readonly TCP: new (type: number) => BoundSocket
  readonly constants: { readonly SERVER: number }
}

/** Binds a socket of 127.0.0.1 for each name, on which nobody listens yet; they are closed with the test. */
export function holdSockets (t: Pick<TestContext, 'after'>, names: readonly string[]): HeldSocket[] {
  // eslint-disable-next-line n/no-deprecated-api -- there is no public way to bind and not to accept
  const { TCP, constants } = (process as unknown as { binding (name: string): TcpBinding }).binding('tcp_wrap')
  return names.map(name => {
    const socket = new TCP(constants.SERVER)
    t.after(() => { socket.close() })
    const bound: { port?: number } = {}
    if (socket.bind('127.0.0.1', 0) !== 0 || socket.getsockname(bound) !== 0) throw new Error(`no socket for ${name}`)
    return { name, fd: socket.fd, port: bound.port ?? 0 }
  })
}
