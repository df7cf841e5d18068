import { X509Certificate } from 'node:crypto'
import { connectHttp3 } from '../../src/gateway/transports/http3/client.ts'
import { bundledTransport } from '../../src/gateway/transports/http3/server.ts'
import { viewerTransportContract } from './viewer-transport.ts'

viewerTransportContract('bundled, HTTP/3', {
  transport: bundledTransport,
  transportName: 'webtransport',
  connect: (target) => connectHttp3(`https://127.0.0.1:${target.port}${target.path}`, {
    headers: target.headers,
    certificateHashes: [{ algorithm: 'sha-256', value: Buffer.from(new X509Certificate(target.cert).fingerprint256.replaceAll(':', ''), 'hex') }],
    timeoutMs: 2_000
  }),
  limits: { loss: 'the client closes its connection by the protocol' }
})
