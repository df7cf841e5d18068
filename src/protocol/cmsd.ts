/*
 * `CMSD-Dynamic` (CTA-5006, Common Media Server Data): what a server tells a player with each response, a list of structured fields
 * (RFC 8941): one string for each server on the way, with parameters. `mb` is the highest bitrate the server suggests, kbit/s; our own
 * parameter has a prefix, as the standard wants it.
 */

export interface BandwidthHint {
  readonly bitsPerSecond: number
  readonly rendition: string
}

const SERVER = '"icn-relay"'
/** One member of the list, ours: `"icn-relay";mb=1660;icn-rendition="480p"`. Parameters of others may stand between. */
const OURS = /(?:^|,)[ \t]*"icn-relay"((?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:"[^"\\]*"|[A-Za-z0-9.:/+*-]+))?)*)[ \t]*(?=,|$)/
/** Longest field read; ours has under 100 bytes. */
const MAX_LENGTH = 1_024

/** @param rendition letters, digits, `.`, `_`, `-` */
export function formatCmsd ({ bitsPerSecond, rendition }: BandwidthHint): string {
  return `${SERVER};mb=${Math.floor(bitsPerSecond / 1_000)};icn-rendition="${rendition}"`
}

/** What a relay says in a `CMSD-Dynamic` field; undefined when there is nothing of a relay, or nothing usable. Never throws. */
export function parseCmsd (field: string | undefined): BandwidthHint | undefined {
  if (field === undefined || field.length > MAX_LENGTH) return undefined
  const parameters = OURS.exec(field)?.[1]
  if (parameters === undefined) return undefined
  const kilobits = /;[ ]*mb=(\d{1,12})(?=;|$)/.exec(parameters)?.[1]
  const rendition = /;[ ]*icn-rendition="([A-Za-z0-9._-]{1,32})"/.exec(parameters)?.[1]
  return kilobits === undefined || rendition === undefined ? undefined : { bitsPerSecond: Number(kilobits) * 1_000, rendition }
}
