import { setMaxListeners } from 'node:events'
import { isLocalLack } from '../../base/errors.ts'
import { median, SAMPLES, type NodeMeasurement } from './measurement.ts'

export interface SampledNode {
  readonly id: string
  /** `http://` or `https://` origin. */
  readonly url: string
  readonly region: string
}

/** Opens a connection to `url`, closes it, and tells the time of one round trip, ms; rejects when it cannot, or on the signal. */
export type Handshake = (url: string, signal: AbortSignal) => Promise<number>

/**
 * Measures all nodes at the same time, one handshake at a time on each. Ends with `signal` at the latest, whatever the handshakes do and however
 * many nodes there are (the configuration allows 64); what is missing by then counts as failed.
 * @throws the error of a handshake that never left for want of a descriptor or a port: what nobody asked, no node has failed to answer
 */
export async function sampleNodes (nodes: readonly SampledNode[], handshake: Handshake, signal: AbortSignal): Promise<NodeMeasurement[]> {
  // Every handshake under way listens to the one signal.
  setMaxListeners(0, signal)
  let give: () => void = () => {}
  const timeIsUp = new Promise<null>(resolve => { give = () => { resolve(null) } })
  signal.addEventListener('abort', give, { once: true })
  const sample = async (url: string): Promise<number | null> => {
    try {
      const ms = await handshake(url, signal)
      return Number.isFinite(ms) && ms >= 0 ? ms : null
    } catch (error) {
      if (isLocalLack(error)) throw error
      return null
    }
  }
  const measure = async ({ id, url, region }: SampledNode): Promise<NodeMeasurement> => {
    const samples: (number | null)[] = []
    while (samples.length < SAMPLES) samples.push(signal.aborted ? null : await Promise.race([sample(url), timeIsUp]))
    return { id, region, samples, medianMs: median(samples) }
  }
  try {
    return await Promise.all(nodes.map(measure))
  } finally {
    signal.removeEventListener('abort', give)
  }
}
