import { canonicalAddress } from '../../admission/address-key.ts'
import type { AccessRecord } from '../../channel/access-record.ts'

/** What of the stream somebody wants; all of it where nothing is said. */
export interface StreamFilter {
  /** A CID, or an object of one as `<CID>/<part>`. */
  readonly object?: string | undefined
  /** Of a viewer, as it is or as the log shows it. */
  readonly address?: string | undefined
  /** A status, or a hundred of them as `5xx`. */
  readonly status?: string | undefined
  readonly slowerThanMs?: number | undefined
}

/** The pattern of {@link StreamFilter.status}. */
export const STATUS_FILTER = '^[1-5](?:xx|[0-9]{2})$'

function testsStatus (wanted: string): (status: number) => boolean {
  if (!wanted.endsWith('xx')) return status => status === Number(wanted)
  const hundred = Number(wanted[0])
  return status => Math.floor(status / 100) === hundred
}

/** Whether a record, and the address that is shown with it, is wanted. */
export function recordFilter ({ object, address, status, slowerThanMs }: StreamFilter): (record: AccessRecord, remote: string) => boolean {
  const wanted = address === undefined ? undefined : canonicalAddress(address)
  const hasStatus = status === undefined ? undefined : testsStatus(status)
  const ofCid = object === undefined || object.includes('/') ? undefined : `${object}/`
  return (record, remote) => {
    if (hasStatus !== undefined && !hasStatus(record.status)) return false
    if (slowerThanMs !== undefined && record.ms <= slowerThanMs) return false
    if (object !== undefined && record.object !== object && (ofCid === undefined || record.object?.startsWith(ofCid) !== true)) return false
    return wanted === undefined || address === remote || wanted === canonicalAddress(record.remote)
  }
}
