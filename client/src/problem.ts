import { ShardClientError, retryAfterOf } from './client-error.ts'
import type { RelayResponse } from './relay-connection.ts'

/** Longest problem document read; the relay's are under 1 KiB. */
const MAX_PROBLEM_BYTES = 16_384

/** What an answer with an error says (RFC 9457); read to its end, or as far as it is bounded. */
export async function problemOf (response: RelayResponse): Promise<ShardClientError> {
  const parts: Uint8Array[] = []
  let size = 0
  for (let chunk = await response.read(); chunk !== null && size <= MAX_PROBLEM_BYTES; chunk = await response.read()) {
    parts.push(chunk)
    size += chunk.length
  }
  let problem: { readonly code?: unknown, readonly detail?: unknown } = {}
  try {
    const decoder = new TextDecoder()
    const value: unknown = JSON.parse(parts.map(part => decoder.decode(part, { stream: true })).join(''))
    if (typeof value === 'object' && value !== null) problem = value
  } catch {
    // A proxy on the way may answer with something else; the status says enough.
  }
  const { status, fields } = response
  const retryAfterMs = retryAfterOf(name => fields.get(name))
  return new ShardClientError('status', typeof problem.detail === 'string' ? problem.detail : `the relay answered with status ${status}`, {
    status,
    ...(typeof problem.code === 'string' && { code: problem.code }),
    ...(retryAfterMs !== undefined && { retryAfterMs })
  })
}
