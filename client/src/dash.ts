/** `icn-relay-client/dash`: dash.js 5 fetches `icn://` from a relay. */
import { failureOf, loadWhole, type FileFetcher } from './player-load.ts'

/* The parts of dash.js that are used, as it has them. */

interface DashRequest {
  readonly url: string
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly responseType?: string
  readonly customData: {
    onloadend? (): void
    onprogress? (event: { readonly lengthComputable: boolean, readonly loaded: number, readonly total: number }): void
    onabort? (): void
    abort?: () => void
  }
}

interface DashResponse {
  url?: string
  status?: number
  statusText?: string
  headers?: Record<string, string>
  data?: unknown
}

interface DashLoader {
  load (request: DashRequest, response: DashResponse): unknown
  abort (): void
  reset (): void
  resetInitialSettings (): void
}

/** What `MediaPlayer().create()` gives. */
export interface DashPlayer {
  extend (name: string, extension: object, override: boolean): void
}

/** Has a player fetch `icn://` with the client, and the rest as before; to be called before `initialize`. */
export function extendDash (player: DashPlayer, client: FileFetcher): void {
  player.extend('XHRLoader', function icnLoader (this: { readonly parent: DashLoader }) {
    const before = { ...this.parent }
    const aborts = new Set<AbortController>()
    const stopAll = (): void => { for (const abort of aborts) abort.abort() }
    return {
      load (request: DashRequest, answer: DashResponse): unknown {
        const { url, method = 'GET', headers = {}, responseType, customData } = request
        if (!url.startsWith('icn:')) return before.load(request, answer)
        const abort = new AbortController()
        aborts.add(abort)
        customData.abort = () => {
          abort.abort()
          customData.onabort?.()
        }
        loadWhole(client, url, {
          method,
          headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value)),
          signal: abort.signal,
          priority: responseType === 'arraybuffer' ? 'normal' : 'urgent',
          onBytes: (loaded, total) => { customData.onprogress?.({ lengthComputable: total !== undefined, loaded, total: total ?? loaded }) }
        }).then(({ response, data }) => {
          Object.assign(answer, { url, status: response.status, statusText: response.statusText, headers: Object.fromEntries(response.headers as unknown as Iterable<[string, string]>), data: responseType === 'arraybuffer' ? data : new TextDecoder().decode(data) })
        }, (error: unknown) => {
          const { status, text } = failureOf(error)
          Object.assign(answer, { url, status, statusText: text, headers: {} })
        }).then(() => {
          aborts.delete(abort)
          if (!abort.signal.aborted) customData.onloadend?.()
        }, () => {})
        return true
      },
      abort (): void {
        stopAll()
        before.abort()
      },
      reset (): void {
        stopAll()
        before.reset()
      },
      resetInitialSettings (): void {
        stopAll()
        before.resetInitialSettings()
      }
    }
  }, true)
}
