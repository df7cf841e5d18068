/** Why a request was refused or came to nothing. */
export class ApiError extends Error {
  /** 0 when there was no answer. */
  readonly status: number
  /** RELAY_ERR_*, or what the browser calls it. */
  readonly code: string
  /** Time that the relay wants to be left alone, ms. */
  readonly retryAfterMs: number | undefined

  constructor (status: number, code: string, message: string, retryAfterMs?: number) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.retryAfterMs = retryAfterMs
  }
}

/** What of `fetch` is used. */
export type Ask = (url: string, init: { readonly method: string, readonly headers: Readonly<Record<string, string>>, readonly body?: string, readonly signal: AbortSignal, readonly cache: 'no-store', readonly credentials: 'omit', readonly redirect: 'error' }) => Promise<Response>

interface Problem { readonly code?: unknown, readonly detail?: unknown }

/** Longer than the relay takes for anything that it is asked about; what changes a lot may take longer, ms. */
const READ_MS = 10_000
const WRITE_MS = 120_000

/** As a header carries it; what else is typed is no token (RFC 6750 §2.1, and wider). */
const TOKEN = /^[!-~]{1,512}$/

/** The admin API, with the token that somebody has typed: it is in this object and nowhere else. */
export class Api {
  readonly #ask: Ask
  #token: string | undefined

  constructor (ask: Ask) {
    this.#ask = ask
  }

  get hasToken (): boolean { return this.#token !== undefined }

  /** @param token undefined forgets it. @throws ApiError when it is none */
  use (token: string | undefined): void {
    if (token !== undefined && !TOKEN.test(token)) throw new ApiError(0, 'NOT_A_TOKEN', 'A token has visible ASCII characters and no spaces')
    this.#token = token
  }

  /** @throws ApiError */
  async get<T> (path: string, signal?: AbortSignal): Promise<T> {
    return await this.#json<T>('GET', path, undefined, READ_MS, signal)
  }

  /** @throws ApiError */
  async write<T> (method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T> {
    return await this.#json<T>(method, path, body, WRITE_MS, undefined)
  }

  /** Pieces of text as they come. @throws ApiError */
  async * stream (path: string, signal: AbortSignal): AsyncGenerator<string> {
    const response = await this.#answer('GET', path, undefined, signal)
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    if (reader === undefined) return
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        yield value
      }
    } catch (error) {
      throw asApiError(error)
    } finally {
      // Whoever stops reading must not leave the relay writing.
      reader.cancel().catch(() => {})
    }
  }

  async #json<T> (method: string, path: string, body: object | undefined, ms: number, signal: AbortSignal | undefined): Promise<T> {
    const late = AbortSignal.timeout(ms)
    const response = await this.#answer(method, path, body, signal === undefined ? late : AbortSignal.any([signal, late]))
    try {
      return await response.json() as T
    } catch (error) {
      throw asApiError(error)
    }
  }

  async #answer (method: string, path: string, body: object | undefined, signal: AbortSignal): Promise<Response> {
    const headers = {
      accept: 'application/json, text/event-stream',
      // Where no token is needed, this says that no foreign page asks.
      'x-requested-with': 'icn-relay dashboard',
      ...this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` },
      ...body === undefined ? {} : { 'content-type': 'application/json' }
    }
    let response: Response
    try {
      response = await this.#ask(`/admin/v1${path}`, { method, headers, ...body === undefined ? {} : { body: JSON.stringify(body) }, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' })
    } catch (error) {
      throw asApiError(error)
    }
    if (response.ok) return response
    const { code, detail }: Problem = await (response.json() as Promise<Problem>).catch(() => ({}))
    const retryAfter = Number(response.headers.get('retry-after') ?? NaN)
    throw new ApiError(response.status, typeof code === 'string' ? code : `HTTP ${response.status}`, typeof detail === 'string' ? detail : 'the answer does not say why', Number.isFinite(retryAfter) ? retryAfter * 1_000 : undefined)
  }
}

/** Whatever was thrown. */
export function asApiError (error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const name = error instanceof Error ? error.name : ''
  if (name === 'TimeoutError') return new ApiError(0, 'NO_ANSWER', 'The relay did not answer in time')
  if (name === 'AbortError') return new ApiError(0, 'ABORTED', 'The request was given up')
  return new ApiError(0, 'UNREACHABLE', 'The relay cannot be reached')
}
