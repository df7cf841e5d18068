// The WebTransport of fails-components that runs over WebSocket, for networks without UDP and browsers without WebTransport.
export { WebTransportPonyfill } from '@fails-components/webtransport'
