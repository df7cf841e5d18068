import { asApiError, type Api, type ApiError } from './api.ts'
import { EventLines, type ServerEvent } from './event-lines.ts'
import type { PageTimers } from './poll.ts'
import { Ring } from './ring.ts'
import type { LoggedRequest } from './wire.ts'

/** Lines of the log that are kept. */
export const MAX_LINES = 500
/** Lines are shown together, ms: a busy relay has thousands a second. */
const SHOW_MS = 250
const MAX_BACKOFF_MS = 10_000

export interface LogFilter {
  readonly object: string
  readonly address: string
  readonly status: string
  readonly slowerThanMs: string
  /** Requests to the admin listener too, this page's own for one. */
  readonly admin: boolean
}

export interface LogLine {
  readonly number: number
  readonly record: LoggedRequest
}

export interface LogFeedOptions {
  readonly api: Pick<Api, 'stream'>
  readonly timers: PageTimers
  readonly changed: () => void
}

/** Query of `/log/stream`; what is empty is not asked for. */
export function queryOf ({ object, address, status, slowerThanMs }: LogFilter): string {
  const wanted = Object.entries({ object, address, status, slowerThanMs }).filter(([, value]) => value !== '')
  return wanted.length === 0 ? '' : `?${new URLSearchParams(wanted).toString()}`
}

/** Responses as they end; joined again when the stream ends. */
export class LogFeed {
  readonly #options: LogFeedOptions
  readonly #lines = new Ring<LogLine>(MAX_LINES)
  #pending: LogLine[] = []
  #controller: AbortController | undefined
  #cancelShow: (() => void) | undefined
  #cancelRetry: () => void = () => {}
  #number = 0
  #failures = 0
  #admin = false
  lost = 0
  state: 'off' | 'joining' | 'live' | 'waiting' = 'off'
  error: ApiError | undefined

  constructor (options: LogFeedOptions) {
    this.#options = options
  }

  get lines (): readonly LogLine[] { return this.#lines.items }

  start (filter: LogFilter): void {
    this.stop()
    const controller = new AbortController()
    this.#controller = controller
    this.#admin = filter.admin
    void this.#read(filter, controller)
  }

  stop (): void {
    this.#controller?.abort()
    this.#controller = undefined
    this.#cancelRetry()
    this.#show()
    this.state = 'off'
  }

  clear (): void {
    this.#lines.clear()
    this.#pending = []
    this.lost = 0
    this.#options.changed()
  }

  async #read (filter: LogFilter, controller: AbortController): Promise<void> {
    const { api, timers, changed } = this.#options
    this.state = 'joining'
    changed()
    const events = new EventLines()
    try {
      for await (const text of api.stream(`/log/stream${queryOf(filter)}`, controller.signal)) {
        if (this.#controller !== controller) return
        if (this.state !== 'live') {
          this.state = 'live'
          this.error = undefined
          this.#failures = 0
          changed()
        }
        for (const event of events.push(text)) this.#take(event)
      }
      this.error = undefined
    } catch (error) {
      this.error = asApiError(error)
    }
    if (this.#controller !== controller) return
    this.state = 'waiting'
    // What is refused is refused again, until another filter or token is tried.
    const { status = 0, retryAfterMs = 0 } = this.error ?? {}
    if (status !== 400 && status !== 401 && status !== 403) {
      const waitMs = Math.max(retryAfterMs, Math.min(MAX_BACKOFF_MS, 1_000 * 2 ** this.#failures++))
      this.#cancelRetry = timers.after(waitMs, () => { void this.#read(filter, controller) })
    }
    changed()
  }

  #take ({ event, data }: ServerEvent): void {
    let value: unknown
    try {
      value = JSON.parse(data)
    } catch {
      return
    }
    if (event === 'lost') this.lost += Number((value as { readonly records?: unknown }).records) || 0
    if (event === 'request') {
      const record = value as LoggedRequest
      if (!this.#admin && (record.kind === 'admin' || record.kind === 'scrape')) return
      this.#pending.push({ number: this.#number++, record })
      if (this.#pending.length > MAX_LINES) this.#pending = this.#pending.slice(-MAX_LINES)
    }
    this.#cancelShow ??= this.#options.timers.after(SHOW_MS, () => { this.#show() })
  }

  #show (): void {
    this.#cancelShow?.()
    this.#cancelShow = undefined
    this.#lines.push(...this.#pending)
    this.#pending = []
    this.#options.changed()
  }
}
