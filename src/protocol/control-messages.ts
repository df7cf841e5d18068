/** Messages from relay to viewer on the control stream of a session, one JSON object a line. */
export type ControlMessage =
  | { readonly type: 'hello'; readonly version: string; readonly region: string; readonly limits: Readonly<Record<string, number>> }
  | { readonly type: 'bandwidth'; readonly bitsPerSecond: number; readonly suggestedRendition: string }
  | {
    readonly type: 'drain'
    /** Milliseconds from receipt until the relay closes the session. */
    readonly deadlineMs: number
    /** Base URLs of other relays, best first; empty when the same relay takes new sessions. */
    readonly alternates: readonly string[]
  }
  | { readonly type: 'redirect'; readonly url: string; readonly reason: string }
  /** Objects that requests of the session wait for and the relay is still fetching, said every second. */
  | { readonly type: 'filling'; readonly objects: readonly FillingObject[] }
  /** Keeps a silent session alive; says nothing else. */
  | { readonly type: 'ping' }

export interface FillingObject {
  /** As it was asked for, without query. */
  readonly path: string
  /** That the relay has of it so far. */
  readonly bytes: number
}

/** Objects in one `filling` message: with paths of 160 characters they are three quarters of the longest line. */
export const MAX_FILLING = 32

/** Longest control line a viewer accepts, bytes: 16 alternates of 256 characters fit twice. */
export const MAX_CONTROL_LINE = 8192

/** One message as a line. */
export function encodeControl (message: ControlMessage): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(message)}\n`)
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_CONTROL_LINE
const isAmount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0

const isFilling = (value: unknown): value is FillingObject => isObject(value) && isText(value['path']) && isAmount(value['bytes'])

/** Reads one line; undefined for what is malformed or of a later version, so that relays may add messages and members. */
export function parseControl (line: string): ControlMessage | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (!isObject(value)) return undefined
  const { type } = value
  if (type === 'hello') {
    const { version, region, limits } = value
    if (!isText(version) || !isText(region)) return undefined
    const known = isObject(limits) ? Object.entries(limits).filter((entry): entry is [string, number] => isAmount(entry[1])) : []
    return { type, version, region, limits: Object.fromEntries(known) }
  }
  if (type === 'bandwidth') {
    const { bitsPerSecond, suggestedRendition } = value
    return isAmount(bitsPerSecond) && isText(suggestedRendition) ? { type, bitsPerSecond, suggestedRendition } : undefined
  }
  if (type === 'drain') {
    const { deadlineMs, alternates } = value
    if (!isAmount(deadlineMs) || !Array.isArray(alternates)) return undefined
    return { type, deadlineMs, alternates: alternates.filter(isText).slice(0, 16) }
  }
  if (type === 'redirect') {
    const { url, reason } = value
    return isText(url) && isText(reason) ? { type, url, reason } : undefined
  }
  if (type === 'filling') {
    const { objects } = value
    if (!Array.isArray(objects)) return undefined
    return { type, objects: objects.filter(isFilling).slice(0, MAX_FILLING).map(({ path, bytes }) => ({ path, bytes })) }
  }
  return type === 'ping' ? { type } : undefined
}

/** Splits the control stream into messages; holds at most one line of {@link MAX_CONTROL_LINE} bytes. */
export class ControlReader {
  readonly #decoder = new TextDecoder()
  #line = ''
  #skipping = false

  /** Messages completed by this chunk. A line that is too long is skipped whole. */
  push (chunk: Uint8Array): ControlMessage[] {
    const messages: ControlMessage[] = []
    const parts = this.#decoder.decode(chunk, { stream: true }).split('\n')
    const tail = parts.pop() ?? ''
    for (const part of parts) {
      const line = this.#line + part
      const message = this.#skipping || line.length > MAX_CONTROL_LINE ? undefined : parseControl(line)
      if (message !== undefined) messages.push(message)
      this.#line = ''
      this.#skipping = false
    }
    this.#line = this.#skipping ? '' : this.#line + tail
    if (this.#line.length > MAX_CONTROL_LINE) {
      this.#line = ''
      this.#skipping = true
    }
    return messages
  }
}
