import { TransportError, type BidiStream, type ReceiveStream, type SendStream } from '../protocol/transport-session.ts'
import type { NapiBiStream, NapiRecvStream, NapiSendStream } from './binding.ts'
import { streamFailure } from './failure.ts'
import type { WriteTurns } from './write-turns.ts'

/** Most bytes one read asks for: a request head fits many times, and uploads are not what viewers come for. */
const READ_BYTES = 65_536

/** What a stream tells its session. */
export interface QuinnStreamOwner {
  sent (bytes: number): void
  received (bytes: number): void
  /** A half is over for whoever uses it; `settled` follows when the engine is done with it too. */
  halfOver (half: Half): void
  settled (half: Half): void
}

/** Both directions of a stream, and either alone. */
export interface Half {
  /** The session ended: whatever is under way here comes to nothing. */
  sessionOver (error: TransportError): void
}

/**
 * A half whose outstanding operation can be given up here while the engine still carries it out: the engine takes one operation at a
 * time for each half, so that a reset waits behind a write that the peer holds back, and a stop behind a read. The engine's object is let
 * go of as soon as nothing is wanted of it, since it keeps the connection.
 */
abstract class EngineHalf<Native> implements Half {
  readonly #owner: QuinnStreamOwner
  #native: Native | undefined
  #outstanding = 0
  #over = false
  #failed: TransportError | undefined
  #giveUp: ((error: TransportError) => void) | undefined

  constructor (native: Native, owner: QuinnStreamOwner) {
    this.#native = native
    this.#owner = owner
  }

  protected get over (): boolean { return this.#over }

  sessionOver (error: TransportError): void {
    this.fail(error)
    this.#native = undefined
  }

  /**
   * Runs one operation of the engine; rejects as soon as the half has failed, whether or not the engine has noticed.
   * @param takeTurn calls `begin` when the operation may begin; what it returns is called when the operation is over or given up
   */
  protected run<T> (operation: (native: Native) => Promise<T>, takeTurn?: (begin: () => void) => () => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failed !== undefined) return reject(this.#failed)
      let leave = (): void => {}
      const begin = (): void => {
        this.#giveUp = reject
        this.#engine(operation).then(value => {
          leave()
          resolve(value)
        }, (error: unknown) => {
          leave()
          const failure = streamFailure(error)
          this.fail(failure)
          reject(this.#failed ?? failure)
        })
      }
      if (takeTurn === undefined) return begin()
      this.#giveUp = error => {
        leave()
        reject(error)
      }
      leave = takeTurn(begin)
    })
  }

  /** Tells the engine to end the half, after what it has under way; here it is over now. */
  protected abandon (operation: (native: Native) => Promise<void>, error: TransportError): void {
    if (this.#over) return
    this.#engine(operation).catch(() => {})
    this.fail(error)
  }

  protected finished (): void {
    if (this.#over) return
    this.#over = true
    this.#owner.halfOver(this)
    if (this.#outstanding === 0) this.#settle()
  }

  protected fail (error: TransportError): void {
    this.#failed ??= error
    this.#giveUp?.(this.#failed)
    this.finished()
  }

  async #engine<T> (operation: (native: Native) => Promise<T>): Promise<T> {
    if (this.#native === undefined) throw new TransportError('protocol', 'the stream is over')
    this.#outstanding++
    try {
      return await operation(this.#native)
    } finally {
      this.#outstanding--
      if (this.#over && this.#outstanding === 0) this.#settle()
    }
  }

  #settle (): void {
    this.#native = undefined
    this.#owner.settled(this)
  }
}

export class QuinnSend extends EngineHalf<NapiSendStream> implements SendStream {
  readonly #counts: QuinnStreamOwner
  readonly #turns: WriteTurns | undefined
  readonly #stopped = new AbortController()
  #bytes = 0

  /** @param turns of the writes of its session; without them a write waits for no other */
  constructor (native: NapiSendStream, owner: QuinnStreamOwner, turns?: WriteTurns) {
    super(native, owner)
    this.#counts = owner
    this.#turns = turns
  }

  /** The engine tells of STOP_SENDING at the next write or FIN only. */
  get stopped (): AbortSignal { return this.#stopped.signal }

  async write (chunk: Uint8Array): Promise<void> {
    const turns = this.#turns
    this.#bytes += chunk.length
    await this.#unlessStopped(native => native.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)),
      turns === undefined ? undefined : begin => turns.take(this.#bytes, begin))
    this.#counts.sent(chunk.length)
  }

  async end (): Promise<void> {
    await this.#unlessStopped(native => native.finish())
    this.finished()
  }

  reset (code: number): void {
    this.abandon(native => native.reset(code), new TransportError('reset', 'we reset the stream', code))
  }

  override sessionOver (error: TransportError): void {
    if (!this.over) this.#stopped.abort(error)
    super.sessionOver(error)
  }

  async #unlessStopped (operation: (native: NapiSendStream) => Promise<void>, takeTurn?: (begin: () => void) => () => void): Promise<void> {
    try {
      await this.run(operation, takeTurn)
    } catch (error) {
      if (error instanceof TransportError && error.kind === 'stopped') this.#stopped.abort(error)
      throw error
    }
  }
}

export class QuinnReceive extends EngineHalf<NapiRecvStream> implements ReceiveStream {
  readonly #counts: QuinnStreamOwner

  constructor (native: NapiRecvStream, owner: QuinnStreamOwner) {
    super(native, owner)
    this.#counts = owner
  }

  async read (): Promise<Uint8Array | null> {
    const chunk = await this.run(native => native.read(READ_BYTES))
    if (chunk === null) this.finished()
    else this.#counts.received(chunk.length)
    return chunk
  }

  cancel (code: number): void {
    this.abandon(native => native.stop(code), new TransportError('stopped', 'we read no more', code))
  }
}

export class QuinnBidi implements BidiStream {
  readonly id: string
  readonly send: QuinnSend
  readonly receive: QuinnReceive

  constructor (id: string, native: NapiBiStream, owner: QuinnStreamOwner, turns: WriteTurns) {
    this.id = id
    this.send = new QuinnSend(native.takeSend(), owner, turns)
    this.receive = new QuinnReceive(native.takeRecv(), owner)
  }

  get stopped (): AbortSignal { return this.send.stopped }
  write (chunk: Uint8Array): Promise<void> { return this.send.write(chunk) }
  end (): Promise<void> { return this.send.end() }
  reset (code: number): void { this.send.reset(code) }
  read (): Promise<Uint8Array | null> { return this.receive.read() }
  cancel (code: number): void { this.receive.cancel(code) }
}
