import { PREFETCH_FIELD } from './prefetch-hint.ts'

/**
 * What a request for an object may say besides its path and its credentials, on every transport. Another field is a row here and is read where it counts;
 * that pages of other origins may send it, and that `openapi.yaml` has it, follows.
 */
export const REQUEST_FIELDS = {
  range: 'one range of bytes; several are answered with the whole object',
  'if-range': 'the range counts only while this is the strong entity-tag',
  'if-none-match': 'entity-tags, or `*`',
  [PREFETCH_FIELD]: 'what will be asked for next: a list of structured fields (RFC 9651) with up to eight strings `"<cid>/<part>"`, the part a shard number or `manifest`; what the credentials of this request do not open is left out'
} as const satisfies Readonly<Record<string, string>>

export type RequestField = keyof typeof REQUEST_FIELDS
