/** `icn-relay-client/hls`: hls.js 1.x fetches `icn://` from a relay. */
import { failureOf, loadWhole, type FileFetcher } from './player-load.ts'

/* The parts of hls.js that are used, as it has them. */

interface HlsContext {
  readonly url: string
  readonly responseType: string
  readonly headers?: Record<string, string>
  readonly rangeStart?: number
  /** Exclusive; 0 where there is no range. */
  readonly rangeEnd?: number
}

interface HlsStats {
  aborted: boolean
  loaded: number
  total: number
  retry: number
  chunkCount: number
  bwEstimate: number
  readonly loading: { start: number, first: number, end: number }
  readonly parsing: { start: number, end: number }
  readonly buffering: { start: number, first: number, end: number }
}

interface HlsCallbacks<C> {
  onSuccess (response: { url: string, data: string | ArrayBuffer | object, code: number }, stats: HlsStats, context: C, details: unknown): void
  onError (error: { code: number, text: string }, context: C, details: unknown, stats: HlsStats): void
  onTimeout (stats: HlsStats, context: C, details: unknown): void
  onAbort?: ((stats: HlsStats, context: C, details: unknown) => void) | undefined
  onProgress?: ((stats: HlsStats, context: C, data: string | ArrayBuffer, details: unknown) => void) | undefined
}

interface HlsLoaderConfig {
  readonly timeout?: number
  readonly loadPolicy?: { readonly maxLoadTimeMs?: number }
}

export interface HlsLoader<C extends HlsContext> {
  context: C | null
  stats: HlsStats
  load (context: C, config: HlsLoaderConfig, callbacks: HlsCallbacks<C>): void
  abort (): void
  destroy (): void
  getCacheAge (): number | null
  getResponseHeader (name: string): string | null
}

const newStats = (): HlsStats => ({
  aborted: false, loaded: 0, total: 0, retry: 0, chunkCount: 0, bwEstimate: 0, loading: { start: 0, first: 0, end: 0 }, parsing: { start: 0, end: 0 }, buffering: { start: 0, first: 0, end: 0 }
})

/** The `loader` of the configuration of hls.js. Whatever is not `icn://` it fetches with `fetch`. */
export function hlsLoader<C extends HlsContext> (client: FileFetcher): new (config?: unknown) => HlsLoader<C> {
  return class implements HlsLoader<C> {
    context: C | null = null
    stats = newStats()
    #abort = new AbortController()
    #response: Response | undefined
    #callbacks: HlsCallbacks<C> | undefined
    #timer: ReturnType<typeof setTimeout> | undefined

    load (context: C, { timeout, loadPolicy }: HlsLoaderConfig, callbacks: HlsCallbacks<C>): void {
      this.context = context
      this.#callbacks = callbacks
      const { stats } = this
      const { url, responseType, rangeStart = 0, rangeEnd = 0 } = context
      const { signal } = this.#abort
      stats.loading.start = performance.now()
      this.#timer = setTimeout(() => {
        this.#stop()
        callbacks.onTimeout(stats, context, this.#response)
      }, loadPolicy?.maxLoadTimeMs ?? timeout ?? 120_000)
      const fetcher = url.startsWith('icn:') ? client : { fetch: async () => await fetch(url, { headers, signal }) }
      const headers = { ...context.headers, ...rangeEnd > 0 && { range: `bytes=${rangeStart}-${rangeEnd - 1}` } }
      loadWhole(fetcher, url, {
        headers,
        signal,
        priority: responseType === 'arraybuffer' ? 'normal' : 'urgent',
        onHead: response => { this.#response = response },
        onBytes: (loaded, total = loaded) => {
          if (stats.loaded === 0) stats.loading.first = performance.now()
          Object.assign(stats, { loaded, total, chunkCount: stats.chunkCount + 1 })
        }
      }).then(({ response, data }) => {
        if (signal.aborted) return
        clearTimeout(this.#timer)
        if (!response.ok) return callbacks.onError({ code: response.status, text: response.statusText }, context, response, stats)
        stats.loading.end = performance.now()
        if (stats.loaded === 0) stats.loading.first = stats.loading.end
        const given = responseType === 'arraybuffer' ? data : new TextDecoder().decode(data)
        callbacks.onProgress?.(stats, context, given, response)
        callbacks.onSuccess({ url, code: response.status, data: responseType === 'json' && typeof given === 'string' ? JSON.parse(given) as object : given }, stats, context, response)
      }).catch((error: unknown) => {
        if (signal.aborted) return
        clearTimeout(this.#timer)
        const { status, text } = failureOf(error)
        callbacks.onError({ code: status, text }, context, this.#response, stats)
      })
    }

    abort (): void {
      if (this.context === null || this.#abort.signal.aborted || this.stats.loading.end > 0) return
      this.#stop()
      this.#callbacks?.onAbort?.(this.stats, this.context, this.#response)
    }

    destroy (): void {
      this.#callbacks = undefined
      this.#stop()
      this.context = null
    }

    getCacheAge (): number | null { return null }
    getResponseHeader (name: string): string | null { return this.#response?.headers.get(name) ?? null }

    #stop (): void {
      clearTimeout(this.#timer)
      if (this.stats.loading.end === 0) this.stats.aborted = true
      this.#abort.abort()
    }
  }
}
