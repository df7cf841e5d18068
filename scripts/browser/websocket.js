// The WebTransport of fails-components that runs over WebSocket when the network has no UDP.
export { WebTransportPonyfill } from '@fails-components/webtransport'
