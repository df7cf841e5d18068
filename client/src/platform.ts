import { TransportMemory } from './transport-memory.ts'
import type { FetchLike, W3cWebTransportConstructor } from './w3c-types.ts'

/** Everything the client needs of its surroundings; tests pass their own. */
export interface ClientPlatform {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** 0 inclusive to 1 exclusive. */
  readonly random: () => number
  /** Bytes that nobody can guess. */
  readonly randomBytes: (length: number) => Uint8Array
  /** Calls back once after `ms`; the returned function cancels. */
  readonly after: (ms: number, callback: () => void) => () => void
  readonly fetch: FetchLike
  /** SHA-256; undefined where the page is not a secure context and has no `crypto.subtle`. */
  readonly sha256: ((bytes: Uint8Array) => Promise<Uint8Array>) | undefined
  /** Whether this is the Ed25519 signature of a raw key over the bytes; undefined or rejecting where the platform knows no Ed25519. */
  readonly ed25519?: ((key: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer>, bytes: Uint8Array) => Promise<boolean>) | undefined
  /** The WebTransport of the browser, undefined where there is none. */
  readonly webTransport: W3cWebTransportConstructor | undefined
  /** Remembers over the clients of a page or process what their network carries badly; without it each client learns by itself. */
  readonly memory?: TransportMemory
  /** Says when the page goes out of sight for good or into the browser's cache, and when it comes back from there; the returned function ends that. */
  readonly onPage?: (listener: (event: 'left' | 'back') => void) => () => void
}

const memory = new TransportMemory()

interface PageEvents {
  addEventListener (type: 'pagehide' | 'pageshow', listener: () => void): void
  removeEventListener (type: 'pagehide' | 'pageshow', listener: () => void): void
}

/** Browsers keep sessions for a while after their page, Firefox for a minute, and they count against the viewer's address. */
function pageEvents (page: PageEvents): NonNullable<ClientPlatform['onPage']> {
  return listener => {
    const left = (): void => listener('left')
    const back = (): void => listener('back')
    page.addEventListener('pagehide', left)
    page.addEventListener('pageshow', back)
    return () => {
      page.removeEventListener('pagehide', left)
      page.removeEventListener('pageshow', back)
    }
  }
}

/** The only reader of globals in the client: what a browser or Node offers. */
export function systemPlatform (): ClientPlatform {
  const { crypto, WebTransport, window } = globalThis as { crypto?: { subtle?: typeof globalThis.crypto.subtle }, WebTransport?: W3cWebTransportConstructor, window?: PageEvents }
  const subtle = crypto?.subtle
  return {
    now: () => performance.now(),
    random: () => Math.random(),
    randomBytes: length => globalThis.crypto.getRandomValues(new Uint8Array(length)),
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms)
      return () => clearTimeout(timer)
    },
    fetch: (url, init) => globalThis.fetch(url, init),
    sha256: subtle === undefined
      ? undefined
      : async bytes => new Uint8Array(await subtle.digest('SHA-256', bytes)),
    ed25519: subtle === undefined
      ? undefined
      : async (key, signature, bytes) => await subtle.verify('Ed25519', await subtle.importKey('raw', key, 'Ed25519', false, ['verify']), signature, bytes),
    webTransport: WebTransport,
    memory,
    ...window !== undefined && { onPage: pageEvents(window) }
  }
}
