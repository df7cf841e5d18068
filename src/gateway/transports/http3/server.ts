/** The bundled engine: a listener over UDP that admits connections, and sessions on them. */
import { systemClock } from '../../../clock.ts'
import type { Clock } from '../../../clock.ts'
import type { ListenerEvents, ListenerOptions, TransportListener, ViewerTransport } from '../viewer-transport.ts'
import { Http3Listener } from './listener.ts'
import { loadQuiche } from './quiche-binding.ts'
import type { QuicParameters } from './quiche-config.ts'

export interface BundledTransportOptions {
  readonly clock?: Clock
  readonly congestionControl?: QuicParameters['congestionControl']
}

/** The bundled engine with its own clock or congestion control; `listen` throws EngineUnavailableError where the binding does not load. */
export function createBundledTransport (options: BundledTransportOptions = {}): ViewerTransport {
  return {
    name: 'bundled',
    async listen (listenerOptions: ListenerOptions, events: ListenerEvents): Promise<TransportListener> {
      const binding = await loadQuiche()
      const listener = new Http3Listener(binding, listenerOptions, events, options.clock ?? systemClock, options.congestionControl ?? 'cubic')
      await listener.bind()
      return listener
    }
  }
}

/** Our HTTP/3 and WebTransport on the quiche binding of `@matrixai/quic`. */
export const bundledTransport: ViewerTransport = createBundledTransport()
