/** Autocannon in a process of its own: told what to do over IPC, answers with what it measured, so that the generator's work is nobody else's. */
import { cpuUsage } from 'node:process'
import autocannon from 'autocannon'
import { observeAnswers } from './autocannon-client.ts'
import { TimeHistogram } from './histogram.ts'
import { requestSource, type Mix, type RequestShape } from './request-mix.ts'

export interface HttpOrder {
  /** Origin of the server under test. */
  readonly url: string
  readonly mix: Mix
  readonly connections: number
  /** Whichever comes first ends the run: seconds, or so many answers; one of them is given. */
  readonly seconds?: number
  readonly requests?: number
  readonly seed: number
  /** Other answers than these are counted as unexpected. */
  readonly expect: { readonly status: number, readonly bytes?: number }
  /** Seconds an answer may take. */
  readonly timeout?: number
}

export interface HttpOutcome {
  readonly seconds: number
  readonly requests: number
  readonly statuses: Readonly<Record<string, number>>
  readonly unexpected: number
  readonly errors: number
  readonly errorTexts: readonly string[]
  /** Body bytes received, those of answers that the end of the run cut off included. */
  readonly bytes: number
  /** Encoded histograms, see `histogram.ts`. */
  readonly latency: string
  readonly firstByte: string
  readonly cpuMs: number
}

/** Granularity of autocannon's end, milliseconds; it is also the period in which it notices that all answers have come. */
const SAMPLE_MS = 20
const MAX_ERROR_TEXTS = 5

function requestsOf (order: HttpOrder, slot: number): autocannon.Request[] {
  const source = requestSource(order.mix, order.seed, slot)
  const toRequest = ({ path, headers }: RequestShape): autocannon.Request => ({ method: 'GET', path, ...(headers === undefined ? {} : { headers }) })
  // A list that repeats is turned into bytes once; what is drawn by chance is built for every request.
  if (order.mix.kind === 'rotate') return order.mix.requests.map(() => toRequest(source()))
  return [{ method: 'GET', path: '/', setupRequest: request => ({ ...request, ...toRequest(source()) }) }]
}

async function carryOut (order: HttpOrder): Promise<HttpOutcome> {
  const latency = new TimeHistogram()
  const firstByte = new TimeHistogram()
  const statuses: Record<string, number> = {}
  const texts = new Set<string>()
  let [bytes, requests, unexpected, broken, failed, slot] = [0, 0, 0, 0, 0, 0]
  let start = 0
  let last = 0
  const { expect } = order
  const cpu = cpuUsage()
  const options: autocannon.Options = {
    url: order.url,
    connections: order.connections,
    ...(order.requests === undefined ? { duration: order.seconds ?? 1 } : { amount: order.requests }),
    timeout: order.timeout ?? 30,
    sampleInt: SAMPLE_MS,
    setupClient: client => {
      if (start === 0) start = performance.now()
      client.setRequests(requestsOf(order, slot++))
      observeAnswers(client, {
        head: ms => { firstByte.record(ms) },
        body: length => { bytes += length },
        complete: (status, length, ms) => {
          last = performance.now()
          requests++
          latency.record(ms)
          statuses[status] = (statuses[status] ?? 0) + 1
          if (status !== expect.status || (expect.bytes !== undefined && length !== expect.bytes)) unexpected++
        },
        broken: () => {
          broken++
          texts.add('the connection ended before the answer did')
        }
      })
    }
  }
  await new Promise<void>((resolve, reject) => {
    const run = autocannon(options, (error: unknown) => {
      if (error instanceof Error) reject(error)
      else resolve()
    })
    run.on('reqError', (error: unknown) => {
      failed++
      if (texts.size < MAX_ERROR_TEXTS) texts.add(String(error))
    })
  })
  // With a number of answers the run is over with the last of them, and not when autocannon notices it.
  const end = order.requests === undefined ? performance.now() : last
  const { user, system } = cpuUsage(cpu)
  return {
    seconds: (end - start) / 1_000,
    requests,
    statuses,
    unexpected,
    errors: broken + failed,
    errorTexts: [...texts],
    bytes,
    latency: latency.encode(),
    firstByte: firstByte.encode(),
    cpuMs: (user + system) / 1_000
  }
}

process.on('message', message => {
  carryOut(message as HttpOrder).then(outcome => { process.send?.({ outcome }) }, (error: unknown) => { process.send?.({ error: String(error) }) })
})
process.on('disconnect', () => { process.exit(0) })
