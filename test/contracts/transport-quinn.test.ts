import { X509Certificate } from 'node:crypto'
import { connectQuinn } from '../../client/src/node-quinn.ts'
import { quinnTransport } from '../../src/gateway/transports/quinn/server.ts'
import { quinnBinding } from '../../tools/harness/quinn.ts'
import { viewerTransportContract } from './viewer-transport.ts'

viewerTransportContract('quinn, HTTP/3', {
  transport: quinnTransport(quinnBinding),
  transportName: 'webtransport',
  connect: async target => await connectQuinn(quinnBinding(), `https://127.0.0.1:${target.port}${target.path}`, {
    certificateHashes: [Buffer.from(new X509Certificate(target.cert).fingerprint256.replaceAll(':', ''), 'hex')],
    timeoutMs: 2_000
  }),
  limits: {
    refusalStatus: 'the engine closes the connection with its answer',
    requestHeaders: 'the engine tells no headers',
    setTls: 'the engine takes a certificate at bind',
    loss: 'the client closes its connection by the protocol',
    peer: 'the engine tells no address',
    stopNotice: 'the engine tells at the next write',
    concurrentStreams: 99
  }
})
