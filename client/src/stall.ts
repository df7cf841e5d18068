import type { Fields } from '../../src/protocol/message-head.ts'
import { ShardClientError } from './client-error.ts'
import type { ClientPlatform } from './platform.ts'
import type { PooledSession } from './pooled-session.ts'
import type { LinkedAbort } from './waiting.ts'

/** Aborts when nothing came for a while, of the body or of the relay's word that it is still fetching it. */
export function stallTimer (abort: LinkedAbort, { path, stallMs }: { readonly path: string, readonly stallMs: number }, { onFilling }: PooledSession, platform: ClientPlatform): { again: () => void, stop: () => void } {
  let stop = (): void => {}
  const again = (): void => {
    stop()
    stop = platform.after(stallMs, () => abort.abort(new ShardClientError('stalled', `nothing came for ${stallMs} ms`)))
  }
  const heard = (paths: ReadonlySet<string>): void => { if (paths.has(path)) again() }
  onFilling.add(heard)
  again()
  return {
    again,
    stop: () => {
      onFilling.delete(heard)
      stop()
    }
  }
}

/** Content-Range must say what was asked for: bytes of another place would pass for the right ones. */
export function isRange (fields: Fields, start: number, length: number, total?: number): boolean {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(fields.get('content-range') ?? '')
  return match !== null && Number(match[1]) === start && Number(match[2]) - start + 1 === length && (total === undefined || Number(match[3]) === total)
}
