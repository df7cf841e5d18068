import { once } from 'node:events'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { deferred } from '../../src/base/deferred.ts'

/**
 * Proxies to two relays that ask each other. On each of them the first GET of an object waits until the other proxy has seen one, too: both
 * relays have asked before either hears of it.
 * @returns URLs of the proxies, in the order of the ports
 */
export async function crossing (t: Pick<TestContext, 'after'>, ports: readonly [number, number]): Promise<[string, string]> {
  const seen = ports.map(() => new Map<string, ReturnType<typeof deferred<undefined>>>())
  const first = (proxy: number, path: string): ReturnType<typeof deferred<undefined>> => {
    const known = seen[proxy]?.get(path)
    if (known !== undefined) return known
    const fresh = deferred<undefined>()
    seen[proxy]?.set(path, fresh)
    return fresh
  }
  const isObject = ({ method, url = '' }: IncomingMessage): boolean => method === 'GET' && url.startsWith('/shards/')
  const proxies = await Promise.all(ports.map(async (port, proxy) => {
    const server = createServer((incoming, response) => {
      const { method, headers, url: path = '/' } = incoming
      const forward = (): void => {
        const outgoing = request({ host: '127.0.0.1', port, method, path, headers }, answer => {
          response.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(response)
        })
        outgoing.on('error', () => { response.destroy() })
        response.on('close', () => { outgoing.destroy() })
        incoming.pipe(outgoing)
      }
      if (!isObject(incoming)) {
        forward()
        return
      }
      first(proxy, path).resolve(undefined)
      void first(1 - proxy, path).promise.then(forward)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => {
      server.closeAllConnections()
      server.close()
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }))
  const [a = '', b = ''] = proxies
  return [a, b]
}
