/** Opcodes of RFC 6455 §5.2. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** A control frame carries at most 125 bytes (RFC 6455 §5.5). */
const MAX_CONTROL_BYTES = 125
/** Tiny chunks are joined at this many, since each costs far more than its bytes. */
const MAX_CHUNKS = 256
/** Longest frame header: two bytes, eight of length, four of mask. */
const MAX_HEADER_BYTES = 14

export interface WebSocketMessage {
  readonly opcode: number
  /** Unmasked. */
  readonly payload: Buffer
}

/** The peer broke the protocol or a limit; the connection is lost. `code` is the WebSocket close code. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
  readonly code: number
  constructor (code: number, message: string) {
    super(message)
    this.code = code
  }
}

interface Head { readonly fin: boolean, readonly opcode: number, readonly length: number, readonly mask: Buffer, readonly size: number }

/** Frames of a WebSocket client in, whole unmasked messages out (RFC 6455 §5), no more than a bounded number of bytes held. */
export class FrameDecoder {
  readonly #maxMessageBytes: number
  #buffered: Buffer[] = []
  #bytes = 0
  #fragments: Buffer[] = []
  #fragmentBytes = 0
  #opcode: number | undefined

  /** @param maxMessageBytes limit of one message, fragments together */
  constructor (maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes
  }

  /** Bytes held for a frame or message that is not complete. */
  get pendingBytes (): number { return this.#bytes + this.#fragmentBytes }

  /** The messages that `chunk` completes, in order. @throws FrameError; the decoder is of no use afterwards */
  push (chunk: Buffer): WebSocketMessage[] {
    this.#buffered.push(chunk)
    this.#bytes += chunk.length
    if (this.#buffered.length > MAX_CHUNKS) this.#merge()
    const messages: WebSocketMessage[] = []
    for (;;) {
      const head = this.#head()
      if (head === undefined || this.#bytes < head.size + head.length) return messages
      const payload = this.#take(head)
      const message = this.#accept(head, payload)
      if (message !== undefined) messages.push(message)
    }
  }

  /** Reads the next header without consuming it, so that an over-long frame is refused before its bytes are held. */
  #head (): Head | undefined {
    if (this.#bytes < 2) return undefined
    const bytes = this.#peek(Math.min(this.#bytes, MAX_HEADER_BYTES))
    const first = bytes.readUInt8(0)
    const second = bytes.readUInt8(1)
    if ((first & 0x70) !== 0) throw new FrameError(1002, 'reserved bits are set')
    if ((second & 0x80) === 0) throw new FrameError(1002, 'frame of a client is not masked')
    const fin = (first & 0x80) !== 0
    const opcode = first & 0x0f
    const short = second & 0x7f
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
    const size = 2 + lengthBytes + 4
    if (bytes.length < size) return undefined
    const length = lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    this.#validate(fin, opcode, length)
    return { fin, opcode, length, mask: bytes.subarray(size - 4, size), size }
  }

  #validate (fin: boolean, opcode: number, length: number): void {
    switch (opcode) {
      case OPCODE.close:
      case OPCODE.ping:
      case OPCODE.pong:
        if (!fin || length > MAX_CONTROL_BYTES) throw new FrameError(1002, 'malformed control frame')
        return
      case OPCODE.binary:
        if (this.#opcode !== undefined) throw new FrameError(1002, 'message inside a fragmented message')
        break
      case OPCODE.continuation:
        if (this.#opcode === undefined) throw new FrameError(1002, 'continuation of nothing')
        break
      case OPCODE.text:
        throw new FrameError(1003, 'text message')
      default:
        throw new FrameError(1002, `unknown opcode ${opcode}`)
    }
    if (length + this.#fragmentBytes > this.#maxMessageBytes) throw new FrameError(1009, `message exceeds ${this.#maxMessageBytes} bytes`)
  }

  #accept (head: Head, payload: Buffer): WebSocketMessage | undefined {
    if (head.opcode >= OPCODE.close) return { opcode: head.opcode, payload }
    if (head.opcode === OPCODE.binary && head.fin) return { opcode: OPCODE.binary, payload }
    this.#opcode ??= head.opcode
    // An empty fragment would grow the list without growing the bytes that bound it.
    if (payload.length > 0) this.#fragments.push(payload)
    if (this.#fragments.length > MAX_CHUNKS) this.#fragments = [Buffer.concat(this.#fragments)]
    this.#fragmentBytes += payload.length
    if (!head.fin) return undefined
    const whole = Buffer.concat(this.#fragments)
    this.#fragments = []
    this.#fragmentBytes = 0
    this.#opcode = undefined
    return { opcode: OPCODE.binary, payload: whole }
  }

  #peek (length: number): Buffer {
    const [first] = this.#buffered
    if (first !== undefined && first.length >= length) return first.subarray(0, length)
    return this.#merge().subarray(0, length)
  }

  #take (head: Head): Buffer {
    const total = head.size + head.length
    const [first] = this.#buffered
    const whole = first !== undefined && first.length >= total ? first : this.#merge()
    // Copied, since the mask is undone in place and the chunk belongs to the socket.
    const payload = Buffer.from(whole.subarray(head.size, total))
    for (let index = 0; index < payload.length; index++) payload[index] = (payload[index] ?? 0) ^ (head.mask[index & 3] ?? 0)
    const rest = whole.subarray(total)
    if (rest.length > 0) this.#buffered[0] = rest
    else this.#buffered.shift()
    this.#bytes -= total
    return payload
  }

  #merge (): Buffer {
    const merged = Buffer.concat(this.#buffered)
    this.#buffered = [merged]
    return merged
  }
}

/** Header of a final frame of `length` bytes, as a server sends it. */
export function frameHeader (opcode: number, length: number): Buffer {
  return header(opcode, length, 0)
}

/** The same as a client sends it, with a mask of zeros: the payload follows as it is. */
export function zeroMaskedHeader (opcode: number, length: number): Buffer {
  return header(opcode, length, 0x80)
}

function header (opcode: number, length: number, maskBit: number): Buffer {
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const bytes = Buffer.alloc(2 + lengthBytes + (maskBit === 0 ? 0 : 4))
  bytes.writeUInt8(0x80 | opcode, 0)
  bytes.writeUInt8(maskBit | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127), 1)
  if (lengthBytes === 2) bytes.writeUInt16BE(length, 2)
  if (lengthBytes === 8) bytes.writeBigUInt64BE(BigInt(length), 2)
  return bytes
}
