/** `icn-relay-client/shaka`: Shaka Player 4 and 5 fetch `icn://` from a relay. */
import { failureOf, loadWhole, type FileFetcher } from './player-load.ts'

/* The parts of Shaka Player that are used, as it has them. */

interface ShakaRequest {
  readonly method: string
  readonly headers: Record<string, string>
}

interface ShakaResponse {
  readonly uri: string
  readonly originalUri: string
  readonly data: ArrayBuffer
  readonly status: number
  readonly headers: Record<string, string>
  readonly timeMs: number
  readonly fromCache: boolean
}

type ShakaPlugin = (uri: string, request: ShakaRequest, type: number, progressUpdated: (ms: number, bytes: number, remaining: number) => void, headersReceived?: (headers: Record<string, string>) => void) => unknown

/** What the module, or the global, `shaka` is. */
export interface ShakaNamespace {
  readonly net: {
    readonly NetworkingEngine: {
      registerScheme (scheme: string, plugin: ShakaPlugin, priority?: number, progressSupport?: boolean): void
      readonly RequestType: { readonly MANIFEST: number, readonly SEGMENT: number }
      readonly PluginPriority: { readonly APPLICATION: number }
    }
  }
  readonly util: {
    readonly AbortableOperation: new (promise: Promise<ShakaResponse>, onAbort: () => Promise<void>) => unknown
    readonly Error: (new (severity: number, category: number, code: number, ...data: unknown[]) => unknown) & {
      readonly Severity: { readonly RECOVERABLE: number, readonly CRITICAL: number }
      readonly Category: { readonly NETWORK: number, readonly PLAYER: number }
      readonly Code: { readonly BAD_HTTP_STATUS: number, readonly HTTP_ERROR: number, readonly OPERATION_ABORTED: number }
    }
  }
}

/** Has every player of this Shaka fetch `icn://` with the client. */
export function registerIcn (shaka: ShakaNamespace, client: FileFetcher): void {
  const { net: { NetworkingEngine }, util: { AbortableOperation, Error: ShakaError } } = shaka
  const { Severity, Category, Code } = ShakaError
  NetworkingEngine.registerScheme('icn', (uri, { method, headers: asked }, type, progressUpdated, headersReceived) => {
    const abort = new AbortController()
    const load = async (): Promise<ShakaResponse> => {
      const startedAt = performance.now()
      let [at, before] = [startedAt, 0]
      let headers: Record<string, string> = {}
      try {
        const { response: { ok, status, statusText }, data } = await loadWhole(client, uri, {
          method,
          headers: asked,
          signal: abort.signal,
          priority: type === NetworkingEngine.RequestType.SEGMENT ? 'normal' : 'urgent',
          onHead: response => {
            response.headers.forEach((value, name) => { headers = { ...headers, [name]: value } })
            headersReceived?.(headers)
          },
          onBytes: (loaded, total = loaded) => {
            const now = performance.now()
            progressUpdated(now - at, loaded - before, total - loaded)
            ;[at, before] = [now, loaded]
          }
        })
        if (!ok) throw new ShakaError(Severity.RECOVERABLE, Category.NETWORK, Code.BAD_HTTP_STATUS, uri, status, statusText, headers, type, uri) as Error
        return { uri, originalUri: uri, data, status, headers, timeMs: performance.now() - startedAt, fromCache: false }
      } catch (error) {
        if (abort.signal.aborted) throw new ShakaError(Severity.CRITICAL, Category.PLAYER, Code.OPERATION_ABORTED) as Error
        if (error instanceof ShakaError) throw error
        throw new ShakaError(Severity.RECOVERABLE, Category.NETWORK, Code.HTTP_ERROR, uri, failureOf(error).text, type, uri) as Error
      }
    }
    return new AbortableOperation(load(), async () => { abort.abort() })
  }, NetworkingEngine.PluginPriority.APPLICATION, true)
}
