/* What only a client with sessions needs: how to open them, how many there should be, whether their relay is still there, and which transport is the fastest. */
export { chooseDivision } from './division.ts'
export { GatewayWatch } from './gateway-watch.ts'
export { SessionConnection, controlListener } from './session-connection.ts'
export { headroom, nextCount, sampleMs, sessionRefused } from './session-steps.ts'
export { TransportScout } from './transport-scout.ts'
export { openW3c } from './w3c-transport.ts'
