import { RelayError } from '../../base/errors.ts'
import { streamOfRunning } from '../ask-admin.ts'
import { ADMIN, command, JSON_OPTION, jsonText } from '../command.ts'
import { rowsFor, screenText } from '../top/screen.ts'
import { TopTally, type CountedRecord } from '../top/tally.ts'
import { eventsOf } from './tail.ts'

/** Seconds between two screens, and that a single one is of. */
const REFRESH_SECONDS = 2
/** Rows of each table where no screen bounds them. */
const ROWS = 20
/** To the upper left corner, and whatever was below is cleared: ECMA-48, CUP and ED. */
const HOME = '\u001B[H\u001B[J'

/** Counts the records of a stream, until it ends. @throws RelayError RELAY_ERR_CONFIG */
export async function tallyStream (pieces: AsyncIterable<string>, tally: TopTally): Promise<void> {
  for await (const { event, data } of eventsOf(pieces)) {
    try {
      const record: unknown = JSON.parse(data)
      if (event === 'request') tally.take(record as CountedRecord)
      else if (event === 'lost') tally.lost((record as { readonly records: number }).records)
    } catch (error) {
      throw new RelayError('RELAY_ERR_CONFIG', 'top: what answers is no relay', { cause: error })
    }
  }
}

export const top = command({
  name: 'top',
  summary: 'show which objects, viewers and super-nodes a running relay is busy with',
  says: 'On a terminal it refreshes until it is ended; elsewhere, and with --once or --json, it listens for a time and prints once. What sampling leaves out of the access log counts too.',
  options: {
    ...ADMIN,
    ...JSON_OPTION,
    once: { says: 'print once, on a terminal too' },
    seconds: { value: 'S', says: `between two screens, or of the one: ${REFRESH_SECONDS} unless given`, mustBe: [/^(?:[1-9]|[1-9]\d|[1-5]\d\d|600)$/, '1 to 600'] }
  },
  take: ({ once, seconds = String(REFRESH_SECONDS), json, admin }) => ({ once: once || json, ms: Number(seconds) * 1_000, json, admin }),
  run: async ({ once, ms, json, admin }, { settings, write, terminal, size }) => {
    const tally = new TopTally()
    const single = once || !terminal
    const stop = new AbortController()
    const stream = await streamOfRunning('top', settings(), admin, '/log/stream', stop.signal)
    const draw = async (): Promise<void> => {
      tally.passed(ms)
      if (json) await write(jsonText(tally.report(ROWS)))
      else if (single) await write(screenText(tally.report(ROWS)))
      else {
        const { columns, rows } = size()
        await write(HOME + screenText(tally.report(rowsFor(rows)), columns))
        tally.fade(ms)
      }
      if (single) stop.abort()
    }
    let drawing = Promise.resolve()
    const timer = setInterval(() => { drawing = drawing.then(draw) }, ms)
    if (!single) await write(`${HOME}listening…\n`)
    try {
      await tallyStream(stream, tally)
    } finally {
      clearInterval(timer)
    }
    await drawing
    return 0
  }
})
