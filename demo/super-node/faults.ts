import { Ajv } from 'ajv'
import { Type, type Static } from 'typebox'

const Share = Type.Number({ minimum: 0, maximum: 1 })
const Millis = Type.Number({ minimum: 0, maximum: 600_000 })
const Bytes = Type.Integer({ minimum: 0 })

/** Every way a super-node can misbehave; an absent key is off. The control paths under /_demo/ never misbehave. */
export const FaultsSchema = Type.Partial(Type.Object({
  match: Type.String({ minLength: 1, maxLength: 256, description: 'the other faults apply to paths that contain this, or one of several texts between which | stands; to all paths when absent' }),
  seed: Type.Integer({ minimum: 0, maximum: 0xffff_ffff, description: 'restarts the random numbers of this node, so that shares fall the same way again' }),
  latencyMs: Type.Number({ ...Millis, description: 'wait before the answer' }),
  jitterMs: Type.Number({ ...Millis, description: 'up to this much more wait, evenly spread' }),
  delayRate: Type.Number({ ...Share, description: 'share of answers that wait delayMs more' }),
  delayMs: Type.Number({ ...Millis }),
  failRate: Type.Number({ ...Share, description: 'share of answers that are 500' }),
  status: Type.Integer({ minimum: 200, maximum: 599, description: 'answer this status and a small JSON body' }),
  notFound: Type.Boolean({ description: 'answer 404' }),
  hang: Type.Boolean({ description: 'accept the request and never answer' }),
  hangRate: Type.Number({ ...Share, description: 'share of requests that are never answered' }),
  corrupt: Type.Boolean({ description: 'flip one bit in the middle of the body; repr-digest and etag stay the true ones' }),
  truncateAtBytes: Type.Integer({ ...Bytes, description: 'close the socket after this many body bytes' }),
  stallAtBytes: Type.Integer({ ...Bytes, description: 'stop sending after this many body bytes, socket open' }),
  bytesPerSecond: Type.Integer({ minimum: 1, description: 'pace of the body' }),
  noDigest: Type.Boolean({ description: 'no repr-digest' }),
  wrongDigest: Type.Boolean({ description: 'a repr-digest that does not fit the true bytes' }),
  noContentLength: Type.Boolean({ description: 'chunked transfer coding, length not announced' })
}), { additionalProperties: false })

export type Faults = Static<typeof FaultsSchema>

/** Faults that cannot be meant; the message names the key. */
export class FaultsError extends Error {
  override readonly name = 'FaultsError'
}

const validate = new Ajv({ allErrors: false }).compile<Faults>(FaultsSchema)

/** Checks parsed JSON. @throws FaultsError with one line saying which key is wrong */
export function parseFaults (value: unknown): Faults {
  if (validate(value)) return value
  const [error] = validate.errors ?? []
  if (error?.keyword === 'additionalProperties') {
    throw new FaultsError(`unknown fault "${String(error.params.additionalProperty)}"; known are ${Object.keys(FaultsSchema.properties).join(' ')}`)
  }
  const key = error?.instancePath.slice(1) ?? ''
  throw new FaultsError(`${key === '' ? 'faults' : `fault "${key}"`} ${error?.message ?? 'is wrong'}`)
}

/** Evenly spread numbers in [0, 1), the same for the same seed (mulberry32). */
export function seededRandom (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** What one request will meet, all dice thrown. */
export interface FaultPlan {
  readonly hang: boolean
  /** Milliseconds before the answer. */
  readonly waitMs: number
  /** Status that replaces the answer. */
  readonly status: number | undefined
  /** Faults of headers and body; empty when the path does not match. */
  readonly body: Faults
}

/** Decides the fate of a request to `path`. Every die is thrown whatever the outcome, so a seed gives one sequence. */
export function planFaults (faults: Faults, path: string, random: () => number): FaultPlan {
  const [hang, jitter, delay, fail] = [random(), random(), random(), random()]
  if (faults.match !== undefined && !faults.match.split('|').some(part => path.includes(part))) return { hang: false, waitMs: 0, status: undefined, body: {} }
  const late = delay < (faults.delayRate ?? 0) ? faults.delayMs ?? 0 : 0
  const failed = fail < (faults.failRate ?? 0) ? 500 : undefined
  return {
    hang: faults.hang === true || hang < (faults.hangRate ?? 0),
    waitMs: (faults.latencyMs ?? 0) + jitter * (faults.jitterMs ?? 0) + late,
    status: faults.status ?? failed ?? (faults.notFound === true ? 404 : undefined),
    body: faults
  }
}
