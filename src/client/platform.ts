import type { FetchLike, W3cWebTransportConstructor } from './w3c-types.ts'

/** Everything the client needs of its surroundings; tests pass their own. */
export interface ClientPlatform {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** 0 inclusive to 1 exclusive. */
  readonly random: () => number
  /** Calls back once after `ms`; the returned function cancels. */
  readonly after: (ms: number, callback: () => void) => () => void
  readonly fetch: FetchLike
  /** SHA-256; undefined where the page is no secure context and has no `crypto.subtle`. */
  readonly sha256: ((bytes: Uint8Array) => Promise<Uint8Array>) | undefined
  /** The WebTransport of the browser, undefined where there is none. */
  readonly webTransport: W3cWebTransportConstructor | undefined
}

/** The only reader of globals in the client: what a browser or Node offers. */
export function systemPlatform (): ClientPlatform {
  const { crypto, WebTransport } = globalThis as { crypto?: { subtle?: typeof globalThis.crypto.subtle }, WebTransport?: W3cWebTransportConstructor }
  const subtle = crypto?.subtle
  return {
    now: () => performance.now(),
    random: () => Math.random(),
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms)
      return () => clearTimeout(timer)
    },
    fetch: (url, init) => globalThis.fetch(url, init),
    sha256: subtle === undefined
      ? undefined
      : async (bytes) => new Uint8Array(await subtle.digest('SHA-256', bytes)),
    webTransport: WebTransport
  }
}
