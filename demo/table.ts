import { createHash } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { verifyManifest, type Manifest } from './super-node/manifest.ts'

/** Time for one object, far above what the slowest super-node of the demo needs. */
const FETCH_MS = 15_000

/** One object fetched through the relay. */
export interface Fetched {
  readonly cache: 'hit' | 'miss' | 'unknown'
  readonly ms: number
  readonly bytes: Buffer
  readonly digestOk: boolean
}

/** One object in both rounds. */
export interface Line {
  /** `manifest`, or the shard number. */
  readonly name: string
  readonly first: Fetched
  readonly second: Fetched
}

/** What RFC 9211 `cache-status` says of the relay. */
export function cacheOutcome (header: string | null): Fetched['cache'] {
  for (const member of (header ?? '').split(',')) {
    const [name, ...parameters] = member.split(';').map(part => part.trim())
    if (name !== 'icn-relay') continue
    if (parameters.includes('hit')) return 'hit'
    if (parameters.some(parameter => parameter === 'fwd' || parameter.startsWith('fwd='))) return 'miss'
  }
  return 'unknown'
}

async function request (url: string): Promise<{ response: Response, bytes: Buffer }> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_MS) })
    return { response, bytes: Buffer.from(await response.arrayBuffer()) }
  } catch (error) {
    // fetch() hides the reason (ECONNREFUSED, …) one level down.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    throw new Error(`${url}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause: error })
  }
}

async function fetchObject (url: string, check: (bytes: Buffer) => boolean): Promise<Fetched> {
  const from = performance.now()
  const { response, bytes } = await request(url)
  const ms = performance.now() - from
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${bytes.toString().slice(0, 300)}`)
  return { cache: cacheOutcome(response.headers.get('cache-status')), ms, bytes, digestOk: check(bytes) }
}

function parseManifest (bytes: Buffer): Manifest {
  const value: unknown = JSON.parse(bytes.toString())
  const verdict = verifyManifest(value)
  if (!verdict.ok) throw new Error(`the manifest from the relay is wrong: ${verdict.reason}`)
  return value as Manifest
}

/** SHA-256, lower-case hex. */
export function sha256 (bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function fetchRound (base: string): Promise<{ manifest: Manifest, round: Array<[string, Fetched]> }> {
  const first = await fetchObject(`${base}/manifest.json`, bytes => parseManifest(bytes).version === 1)
  const manifest = parseManifest(first.bytes)
  const round: Array<[string, Fetched]> = [['manifest', first]]
  for (const { index, sha256: expected } of manifest.shards) {
    round.push([`${index}`, await fetchObject(`${base}/shard_${index}.bin`, bytes => sha256(bytes) === expected)])
  }
  return { manifest, round }
}

/**
 * Fetches manifest and all shards of a video through the relay twice, one after the other.
 * @throws Error with one line when an answer is not 200, or the manifest is not what it should be
 */
export async function fetchTwice (viewerUrl: string, cid: string): Promise<{ manifest: Manifest, lines: Line[] }> {
  const base = `${viewerUrl}/shards/${cid}`
  const { manifest, round } = await fetchRound(base)
  const again = new Map((await fetchRound(base)).round)
  const lines = round.flatMap(([name, first]) => {
    const second = again.get(name)
    return second === undefined ? [] : [{ name, first, second }]
  })
  return { manifest, lines }
}

/** The media: data shards joined, padding cut off. */
export function reassemble (manifest: Manifest, lines: readonly Line[]): Buffer {
  const data = lines.filter(line => line.name !== 'manifest').slice(0, manifest.dataShards)
  return Buffer.concat(data.map(line => line.second.bytes)).subarray(0, manifest.size)
}

/** Why the two rounds are not what a working relay gives; empty when they are. */
export function complaints (lines: readonly Line[]): string[] {
  const wrong = lines.filter(line => !line.first.digestOk || !line.second.digestOk).map(line => line.name)
  const missed = lines.filter(line => line.second.cache !== 'hit').map(line => line.name)
  return [
    ...wrong.length > 0 ? [`wrong digest: ${wrong.join(', ')}`] : [],
    ...missed.length > 0 ? [`not a hit in the second round: ${missed.join(', ')}`] : []
  ]
}

/** The two rounds as text, one line for each object. */
export function renderTable (lines: readonly Line[]): string {
  const head = ['shard', '1st', 'ms', '2nd', 'ms', 'bytes', 'digest']
  const rows = lines.map(({ name, first, second }) => [
    name, first.cache, first.ms.toFixed(1), second.cache, second.ms.toFixed(1), second.bytes.length.toLocaleString('en'), first.digestOk && second.digestOk ? 'ok' : 'WRONG'
  ])
  const words = new Set([1, 3, 6])
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map(row => row[column]?.length ?? 0)))
  const format = (row: string[]): string => row.map((cell, column) => words.has(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)).join('  ').trimEnd()
  return [format(head), widths.map(width => '-'.repeat(width)).join('  '), ...rows.map(format)].join('\n')
}
