import { failsWebSocketTransport } from '../../src/gateway/transports/fails/websocket.ts'
import { connectCapsules, connectPonyfill } from './fails-clients.ts'
import { viewerTransportContract } from './viewer-transport.ts'

const transport = failsWebSocketTransport()

viewerTransportContract('fails, WebSocket (browser ponyfill)', {
  transport,
  transportName: 'websocket',
  connect: connectPonyfill,
  limits: {
    refusalStatus: 'the WebSocket API hides the status of a refused upgrade',
    requestHeaders: 'the WebSocket API sends no headers of the page'
  }
})

viewerTransportContract('fails, HTTP/2 capsules (Node client)', {
  transport,
  transportName: 'websocket',
  connect: connectCapsules,
  limits: {
    refusalStatus: 'the client reports a refusal as a failed handshake',
    requestHeaders: 'the client sends no headers of its own'
  }
})
