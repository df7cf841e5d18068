import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { request } from 'undici'
import { startProxy, type UdpProxy } from '../../tools/harness/udp-proxy.ts'

export interface BlockedUdp {
  /** Instead of the relay's viewer URL. */
  readonly url: string
  /** Where packets of the viewers went, none of which arrived. */
  readonly counts: UdpProxy['counts']
}

/** A relay's viewer port as seen from a network that drops UDP: what is offered over UDP is at a port where every packet is lost. */
export async function blockUdp (t: Pick<TestContext, 'after'>, viewerUrl: string): Promise<BlockedUdp> {
  const hole = await startProxy(1, { drop: () => true })
  t.after(() => { hole.close() })
  const front = createServer((incoming, outgoing) => {
    const forward = async (): Promise<void> => {
      const { host = '', range } = incoming.headers
      const answer = await request(viewerUrl + (incoming.url ?? '/'), { method: incoming.method ?? 'GET', headers: { host, ...range === undefined ? {} : { range } } })
      let body = Buffer.from(await answer.body.arrayBuffer())
      if (incoming.url === '/v1/transport' && answer.statusCode === 200) {
        const found = JSON.parse(body.toString()) as { webtransport: { url: string } }
        const url = new URL(found.webtransport.url)
        url.port = String(hole.port)
        body = Buffer.from(JSON.stringify({ ...found, webtransport: { ...found.webtransport, url: url.href } }))
      }
      // The length may be another one now.
      const { 'content-length': _length, 'transfer-encoding': _coding, connection: _connection, 'keep-alive': _alive, ...headers } = answer.headers
      outgoing.writeHead(answer.statusCode, headers).end(body)
    }
    // A page that looks for a better transport may ask while the test ends and the relay is gone already.
    forward().catch(() => { outgoing.destroy() })
  }).listen(0, '127.0.0.1')
  t.after(() => {
    front.close()
    front.closeAllConnections()
  })
  await once(front, 'listening')
  return { url: `http://127.0.0.1:${(front.address() as AddressInfo).port}`, counts: hole.counts }
}
