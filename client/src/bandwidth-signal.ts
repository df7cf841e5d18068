import { parseCmsd } from '../../src/protocol/cmsd.ts'
import type { ControlMessage } from '../../src/protocol/control-messages.ts'

/** What the relay says of this viewer's bandwidth. */
export interface BandwidthSignal {
  /** What the viewer can count on, bits per second. */
  readonly bitsPerSecond: number
  /** The best rendition that fits. */
  readonly suggestedRendition: string
}

type BandwidthMessage = Extract<ControlMessage, { type: 'bandwidth' }>

/** @returns undefined when nothing limits the viewer any more */
export function signalOf ({ bitsPerSecond, suggestedRendition }: BandwidthMessage): BandwidthSignal | undefined {
  return bitsPerSecond === 0 ? undefined : { bitsPerSecond, suggestedRendition }
}

/** Makes of the `cmsd-dynamic` fields of responses what a session hears on its control stream: a message whenever something changes. */
export class HintReader {
  #last: string | undefined

  /** @param field of a response; undefined when it has none */
  read (field: string | undefined): BandwidthMessage | undefined {
    const hint = parseCmsd(field)
    const text = hint === undefined ? undefined : `${hint.bitsPerSecond} ${hint.rendition}`
    if (text === this.#last) return undefined
    this.#last = text
    return { type: 'bandwidth', bitsPerSecond: hint?.bitsPerSecond ?? 0, suggestedRendition: hint?.rendition ?? '' }
  }
}
