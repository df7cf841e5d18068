/** Viewers of one transport, in a process of their own: they ask until they are told to stop, and hash every body. */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { seededRandom } from '../../demo/super-node/faults.ts'
import { connect, ShardClientError, type ShardClient } from '../../client/src/node.ts'
import { soakRequests, type SoakRequest } from './catalogue.ts'
import type { TrafficOrder, TrafficOutcome } from './traffic.ts'

/** Pause of a viewer between two requests, milliseconds: two dozen of them leave the machine some air. */
const THINK_MS = 40
/** Pause after a request that failed, milliseconds. */
const RETRY_MS = 100
/** Longer than the relay gives a body that stands still; a viewer who waits for ever would hide it. */
const STALL_MS = 10_000
const MAX_TEXTS = 20

/** How one viewer reaches the relay. */
interface Way {
  readonly ask: Ask
  readonly close: () => void
}

interface Answer { readonly status: number, readonly body: Uint8Array }
type Ask = (wanted: SoakRequest) => Promise<Answer>

class Refused extends Error {}

const digests = new Map<string, string>()

function sha256 (bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function isRight ({ cid, part, path, range }: SoakRequest, { body, status }: Answer): boolean {
  if (range !== undefined) return status === 206 && syntheticShard(cid, part).subarray(range.start, range.end).equals(body)
  const expected = digests.get(path) ?? sha256(syntheticShard(cid, part))
  digests.set(path, expected)
  return status === 200 && sha256(body) === expected
}

function overHttp (url: string): Way {
  const agent = new Agent({ connections: 32 })
  const ask: Ask = async ({ path, range }) => {
    const headers = range === undefined ? {} : { range: `bytes=${range.start}-${range.end - 1}` }
    const response = await request(url + path, { dispatcher: agent, headers, headersTimeout: STALL_MS, bodyTimeout: STALL_MS })
    const body = Buffer.from(await response.body.arrayBuffer())
    if (response.statusCode >= 300) throw new Refused(`status ${response.statusCode}`)
    return { status: response.statusCode, body }
  }
  return { ask, close: () => { void agent.destroy() } }
}

/** One session for each viewer. A request is made once, so that what the relay counts can be compared. */
function overSession (url: string, transport: 'webtransport' | 'websocket'): Way {
  let client: Promise<ShardClient> | undefined
  const ask: Ask = async ({ cid, part, range }) => {
    client ??= connect(url, { transports: [transport], attempts: 1, stallMs: STALL_MS })
    let connected: ShardClient
    try {
      connected = await client
    } catch (error) {
      client = undefined
      throw error
    }
    try {
      // The client divides whole shards that come late over further sessions, which the relay counts as further requests; ranges it does not divide.
      const { status, bytes } = await connected.fetchShard(cid, part, { verify: false, range: range ?? { start: 0 } })
      return { status: range === undefined && status === 206 ? 200 : status, body: bytes }
    } catch (error) {
      if (error instanceof ShardClientError && error.status !== undefined) throw new Refused(`status ${error.status}`)
      throw error
    }
  }
  return { ask, close: () => { client?.then(open => { open.close() }, () => {}) } }
}

/** HTTP viewers share a pool of connections; the others have a session each. */
function waysOf ({ transport, url, viewers }: Extract<TrafficOrder, { type: 'start' }>): Way[] {
  if (transport !== 'http') return Array.from({ length: viewers }, () => overSession(url, transport))
  return new Array<Way>(viewers).fill(overHttp(url))
}

/** What is under way between `start` and `stop`. */
class Run {
  readonly #ways: readonly Way[]
  readonly #viewers: Promise<void>[]
  readonly #texts: Record<string, number> = {}
  #stop = false
  #ok = 0
  #okBytes = 0
  #refused = 0
  #broken = 0
  #wrong = 0

  constructor (order: Extract<TrafficOrder, { type: 'start' }>) {
    this.#ways = waysOf(order)
    this.#viewers = this.#ways.map(async ({ ask }, viewer) => { await this.#watch(ask, order.seed + 1_000 * viewer) })
  }

  async end (): Promise<TrafficOutcome> {
    this.#stop = true
    await Promise.all(this.#viewers)
    for (const way of new Set(this.#ways)) way.close()
    return { ok: this.#ok, okBytes: this.#okBytes, refused: this.#refused, broken: this.#broken, wrong: this.#wrong, texts: this.#texts }
  }

  async #watch (ask: Ask, seed: number): Promise<void> {
    const next = soakRequests(seed)
    const random = seededRandom(seed + 1)
    while (!this.#stop) {
      const wanted = next()
      try {
        this.#judge(wanted, await ask(wanted))
        await sleep(THINK_MS * 2 * random())
      } catch (error) {
        if (error instanceof Refused) this.#refused++
        else this.#broken++
        this.#note(error instanceof Error ? error.message : String(error))
        await sleep(RETRY_MS)
      }
    }
  }

  #judge (wanted: SoakRequest, answer: Answer): void {
    if (isRight(wanted, answer)) {
      this.#ok++
      this.#okBytes += answer.body.length
      return
    }
    this.#wrong++
    this.#note(`wrong: ${wanted.path} ${JSON.stringify(wanted.range)} status ${answer.status} ${answer.body.length} bytes`)
  }

  #note (text: string): void {
    if (text in this.#texts || Object.keys(this.#texts).length < MAX_TEXTS) this.#texts[text] = (this.#texts[text] ?? 0) + 1
  }
}

let run: Run | undefined

async function carryOut (order: TrafficOrder): Promise<TrafficOutcome | Record<string, never>> {
  if (order.type === 'start') {
    run = new Run(order)
    return {}
  }
  if (run === undefined) throw new Error('there is no traffic to stop')
  return await run.end()
}

process.on('message', message => {
  carryOut(message as TrafficOrder).then(outcome => { process.send?.({ outcome }) }, (error: unknown) => { process.send?.({ error: String(error) }) })
})
process.on('disconnect', () => { process.exit(0) })
