import { RelayError } from '../../base/errors.ts'
import type { Denies } from './denylist.ts'

/** What whoever asks for a denied object is told. */
export function deniedError (): RelayError {
  return new RelayError('RELAY_ERR_DENIED', 'the object is on the denylist of this relay')
}

/** @param denies none where there is no denylist @throws RelayError RELAY_ERR_DENIED */
export function refuseDenied (denies: Denies | undefined, cid: string): void {
  if (denies?.(cid) === true) throw deniedError()
}
