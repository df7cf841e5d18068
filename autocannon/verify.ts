import { createHash } from 'node:crypto'
import { request as httpRequest } from 'undici'
import { inParallel } from '../tools/harness/http.ts'
import { requestSource, type Mix, type RequestShape } from './request-mix.ts'
import { trueBytes, type Scenario } from './scenario.ts'

/** A slot that no connection of a run has, so that fresh objects of the sample are fresh. */
const SAMPLE_SLOT = 1_000_000
/** Enough to find a systematic fault; a rare one is the soak's to find, which hashes every body. */
const SAMPLE = 20
const WIDTH = 4

/** The body that an answer must have; undefined where only the server knows it. */
export function expectedBody ({ path, headers }: RequestShape, status: number): Buffer | undefined {
  if (status === 304) return Buffer.alloc(0)
  const whole = trueBytes(path)
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers?.['range'] ?? '') ?? []
  return whole === undefined || status !== 206 ? whole : whole.subarray(Number(first), Number(last) + 1)
}

function sha256 (bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function isRight (url: string, shape: RequestShape, expect: Scenario['expect']): Promise<boolean> {
  const response = await httpRequest(url + shape.path, { headers: { ...shape.headers }, headersTimeout: 60_000, bodyTimeout: 60_000 })
  const body = Buffer.from(await response.body.arrayBuffer())
  const expected = expectedBody(shape, expect.status)
  return response.statusCode === expect.status && (expected === undefined ? body.length > 0 : sha256(body) === sha256(expected))
}

/** Fetches a sample of what a mix asks for and compares every body with the true one, beside the measured loop and never in it. */
export async function verifySample (url: string, mix: Mix, expect: Scenario['expect'], seed: number): Promise<{ bodies: number, wrong: number }> {
  const source = requestSource(mix, seed, SAMPLE_SLOT)
  const right = await inParallel(Array.from({ length: SAMPLE }, () => source()), WIDTH, async shape => await isRight(url, shape, expect).catch(() => false))
  return { bodies: right.length, wrong: right.filter(one => !one).length }
}
