import { setImmediate as nextTurn } from 'node:timers/promises'
import { RelayError } from '../../base/errors.ts'
import { DeniedSet } from './denied-set.ts'
import { parseEntry } from './entry.ts'

/** Lines between two turns of the event loop: one or two milliseconds. */
const LINES_A_TURN = 500
/** Of a list, looked at to guess how many lines it has, bytes. */
const SAMPLE_BYTES = 65_536
/** Longest line that is looked at, bytes. */
const MAX_LINE_BYTES = 1_024
const LINE_FEED = 0x0a

export interface ParsedList {
  readonly set: DeniedSet
  /** Lines that are no entries, and what is wrong with the first. */
  readonly badLines: number
  readonly problem: string | undefined
}

/**
 * Reads a denylist, an entry a line: `#` begins a comment, blanks and what follows them a hint, and a header of `key: value` lines ends with `---` (compact
 * denylist format, IPIP-383). Lines that are no entries are counted; the others hold.
 * @throws RelayError RELAY_ERR_BAD_REQUEST when more lines are none than are: it is no denylist; the reason of the signal
 */
export async function parseList (bytes: Buffer, signal?: AbortSignal): Promise<ParsedList> {
  const set = new DeniedSet(guessLines(bytes))
  let badLines = 0
  let problem: string | undefined
  let number = 0
  let at = headerEnd(bytes)
  for (let n = 0; n < at; n++) if (bytes[n] === LINE_FEED) number++
  while (at < bytes.length) {
    const end = bytes.indexOf(LINE_FEED, at)
    const line = bytes.toString('latin1', at, Math.min(end < 0 ? bytes.length : end, at + MAX_LINE_BYTES))
    at = end < 0 ? bytes.length : end + 1
    number++
    try {
      const text = line.trim().split(/[ \t]/, 1)[0] ?? ''
      if (text !== '' && !text.startsWith('#')) set.add(parseEntry(text))
    } catch (error) {
      badLines++
      problem ??= `line ${number}: ${error instanceof Error ? error.message : String(error)}`
    }
    if (number % LINES_A_TURN > 0) continue
    await nextTurn()
    signal?.throwIfAborted()
  }
  if (badLines > set.size) throw new RelayError('RELAY_ERR_BAD_REQUEST', `it is no denylist: ${badLines} lines are no entries and ${set.size} are; ${problem ?? ''}`)
  return { set, badLines, problem }
}

/** Where the entries begin. */
function headerEnd (bytes: Buffer): number {
  if (!/^[a-z_]+:/.test(bytes.toString('latin1', 0, 64))) return 0
  const end = bytes.indexOf('\n---\n')
  return end < 0 ? 0 : end + 5
}

/** Making room later takes long, and counting all of them too. */
function guessLines (bytes: Buffer): number {
  const sample = bytes.subarray(0, SAMPLE_BYTES)
  let lines = 1
  for (let at = sample.indexOf(LINE_FEED); at >= 0; at = sample.indexOf(LINE_FEED, at + 1)) lines++
  return Math.ceil(lines * bytes.length / Math.max(1, sample.length))
}
