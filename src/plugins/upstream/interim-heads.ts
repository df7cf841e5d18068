/** Where a response stands, byte by byte: in the first line of a head, behind it until the empty line, or past all interim heads. */
type State = 'first line' | 'fields' | 'over'

const DIGIT_ONE = 0x31
const DIGIT_ZERO = 0x30
const DIGIT_TWO = 0x32
const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20

/**
 * Lets a client pass over `100 Continue` that it did not ask for (RFC 9110 §15.2). undici ends the connection for it and ignores any other
 * interim answer, so the status becomes 102 on the way in. Heads may come in pieces of any size, several after each other.
 */
export class InterimHeads {
  #state: State = 'over'
  /** Characters of the status that have come; undefined before the space in front of it. */
  #status: number | undefined
  #interim = false
  #emptyLine = false

  /** A response begins with the next byte. */
  expect (): void {
    this.#state = 'first line'
    this.#status = undefined
    this.#interim = false
    this.#emptyLine = false
  }

  /** Looks at the next bytes of a connection and changes them in place. */
  pass (bytes: Buffer): void {
    for (let at = 0; at < bytes.length && this.#state !== 'over'; at++) {
      const byte = bytes[at]
      if (byte === undefined) return
      if (this.#state === 'first line') this.#firstLine(bytes, at, byte)
      else this.#fields(byte)
    }
  }

  #firstLine (bytes: Buffer, at: number, byte: number): void {
    if (this.#status === undefined) {
      if (byte === LF) this.#state = 'over'
      else if (byte === SPACE) this.#status = 0
      return
    }
    const digit = this.#status++
    if (digit === 0 && byte !== DIGIT_ONE) {
      this.#state = 'over'
    } else if (digit === 1) {
      this.#interim = byte === DIGIT_ZERO
    } else if (digit === 2) {
      if (this.#interim && byte === DIGIT_ZERO) bytes[at] = DIGIT_TWO
      this.#state = 'fields'
    }
  }

  /** The head ends with an empty line, and the next one begins behind it. */
  #fields (byte: number): void {
    if (byte === CR) return
    if (byte === LF && this.#emptyLine) this.expect()
    else this.#emptyLine = byte === LF
  }
}
