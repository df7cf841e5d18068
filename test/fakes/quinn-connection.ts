import type { NapiBiStream, NapiRecvStream, NapiSendStream, NapiSession } from '../../src/quinn/binding.ts'

/** The code that Chromium sends when a page cancels without one. */
const CANCELLED = 0

/** A stream as the viewer sees it. */
export interface ViewerEnd {
  /** Its bytes that the engine took. */
  readonly written: number
  readonly wasReset: boolean
  /** The viewer takes no more of it. @param abort whether it also resets its own half, of which the relay hears sooner */
  cancel (abort: boolean): void
}

/**
 * The engine with one viewer, as far as it concerns what may be sent: the viewer reads nothing, and gives the credit of a cancelled stream back
 * when that is reset. As in quinn-proto 0.11.16 a write that waits for credit of the connection does not see that its stream was stopped, and as
 * in the binding each half does one operation after the other. As in Chromium, credit is only given when less than half of the window is left.
 */
export class QuinnConnection {
  readonly #window: number
  /** All that may be sent since the beginning, bytes. */
  #credit: number
  #sent = 0
  /** Of what was sent: what the viewer is done with. */
  #consumed = 0
  readonly #blocked = new Set<() => void>()
  #accept: Array<(stream: NapiBiStream) => void> = []
  #end: (info: { closeCode: number, reason: string }) => void = () => {}
  readonly session: NapiSession

  constructor (window: number) {
    this.#window = window
    this.#credit = window
    const closed = new Promise<{ closeCode: number, reason: string }>(resolve => { this.#end = resolve })
    this.session = {
      acceptBi: async () => await new Promise(resolve => { this.#accept.push(resolve) }),
      acceptUni: async () => await new Promise(() => {}),
      openUni: async () => await new Promise(() => {}),
      openBi: async () => await new Promise(() => {}),
      recvDatagram: async () => await new Promise(() => {}),
      sendDatagram: () => {},
      maxDatagramSize: () => 0,
      close: (closeCode, reason) => { this.#end({ closeCode, reason }) },
      closed: async () => await closed
    }
  }

  /** The viewer opens a stream. */
  open (): ViewerEnd {
    let written = 0
    let stopped = false
    let wasReset = false
    let endRead: (error: Error) => void = () => {}
    const inTurn = oneAtATime()
    const send: NapiSendStream = {
      write: async data => await inTurn(async () => {
        for (let left = data.length; left > 0;) {
          while (this.#sent === this.#credit) await new Promise<void>(resolve => { this.#blocked.add(resolve) })
          if (stopped) throw new Error(`STOP_SENDING: ${CANCELLED}`)
          const taken = Math.min(left, this.#credit - this.#sent)
          this.#sent += taken
          written += taken
          left -= taken
        }
      }),
      finish: async () => await inTurn(async () => {}),
      reset: async () => await inTurn(async () => {
        wasReset = true
        this.#consume(written)
      }),
      setPriority: async () => {}
    }
    const receive: NapiRecvStream = {
      read: async () => await new Promise((_resolve, reject) => { endRead = reject }),
      stop: async () => {}
    }
    this.#accept.shift()?.({ takeSend: () => send, takeRecv: () => receive })
    return {
      get written () { return written },
      get wasReset () { return wasReset },
      cancel: abort => {
        stopped = true
        // A write that waits tries again, and finds no credit.
        for (const wake of this.#blocked) wake()
        if (abort) endRead(new Error(`RESET_STREAM: ${CANCELLED}`))
      }
    }
  }

  #consume (bytes: number): void {
    this.#consumed += bytes
    if (this.#credit - this.#consumed >= this.#window / 2) return
    this.#credit = this.#consumed + this.#window
    for (const wake of this.#blocked) wake()
    this.#blocked.clear()
  }
}

function oneAtATime (): <T>(operation: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return async operation => {
    const result = last.then(operation, operation)
    last = result.catch(() => {})
    return await result
  }
}
