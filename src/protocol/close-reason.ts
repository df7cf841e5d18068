/** Longest reason of a close, bytes (draft-ietf-webtrans-http3 §6). */
const MAX_REASON_BYTES = 1_024

/** A reason as it may be sent, cut between characters. */
export function closeReason (reason: string): string {
  const bytes = new TextEncoder().encode(reason)
  if (bytes.length <= MAX_REASON_BYTES) return reason
  return new TextDecoder().decode(bytes.subarray(0, MAX_REASON_BYTES), { stream: true })
}
