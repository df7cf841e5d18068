import type { W3cWebTransportConstructor } from '../src/w3c-types.ts'

export declare const WebTransportPonyfill: W3cWebTransportConstructor
