/** Viewers of a relay of whose super-nodes some lie. */
import { request } from 'undici'
import type { TestContext } from 'node:test'
import { startManifestOrigin, type ManifestOrigin } from './manifest-origin.ts'
import { manifestBody, manifestText, signedBody, videoShards, type Publisher } from './manifests.ts'
import { startRelay, type RunningRelay } from './relay.ts'

const SHARD_BYTES = 20_000
const REGIONS = ['NA-WEST', 'EU-WEST', 'APAC']
/** Honest super-nodes answer so much later than those that lie, ms. */
const LATE_MS = 30
/** Times a viewer asks again after a broken body. */
const TRIES = 4

export interface LiarTrialOptions {
  readonly liars: number
  /** Whether super-nodes send `repr-digest`, liars that of their lie. */
  readonly digest: boolean
  /** Who signs the manifests of honest super-nodes; liars sign with a key of their own. */
  readonly publisher: Publisher | undefined
  /** Whom liars sign as; without it, as nobody. */
  readonly forger: Publisher | undefined
  readonly settings?: Record<string, Record<string, unknown>>
}

export interface LiarLab extends RunningRelay {
  readonly honest: readonly ManifestOrigin[]
  readonly liars: readonly ManifestOrigin[]
  /** Whoever was found out is a stranger again, and asked first. */
  readonly meetStrangers: () => void
}

/** The shard that viewers ask for, as it is. */
export function trialShard (cid: string): Buffer {
  return videoShards(cid, SHARD_BYTES)[3] ?? Buffer.alloc(0)
}

/** Three super-nodes in three regions, of which the first `liars` lie, all of them alike, and a relay. */
export async function startLiarLab (t: Pick<TestContext, 'after'>, { liars, digest, publisher, forger, settings = {} }: LiarTrialOptions): Promise<LiarLab> {
  const nodes = await Promise.all(REGIONS.map(async (region, position) => {
    const lies = position < liars
    const signer = lies ? forger : publisher
    return await startManifestOrigin({
      region,
      digest,
      ...lies ? {} : { delayMs: LATE_MS },
      object: ({ cid, part }) => {
        const shards = videoShards(cid, SHARD_BYTES, lies ? ' lie' : '')
        if (part !== 'manifest') return shards[part]
        const body = manifestBody(cid, shards)
        return manifestText(signer === undefined ? body : signedBody(body, signer))
      }
    })
  }))
  t.after(async () => { await Promise.all(nodes.map(async node => { await node.close() })) })
  const relay = await startRelay(t, nodes.map(({ url, region }) => ({ url, region })), {
    ...settings,
    cache: { integrity: 'manifest', ...settings['cache'] },
    trust: { publishers: publisher === undefined ? [] : [publisher.key], manifest_timeout_ms: 60_000, ...settings['trust'] },
    // The liars' region: without a region of its own the relay asks the fastest first, which they are as well.
    region: { override: REGIONS[0], ...settings['region'] }
  })
  const lying = nodes.slice(0, liars)
  const honest = nodes.slice(liars)
  const meetStrangers = (): void => {
    relay.relay.admin.upstream.nodes.set(honest)
    relay.relay.admin.upstream.nodes.set([...honest, ...lying])
  }
  return { ...relay, liars: lying, honest, meetStrangers }
}

/** How bodies ended. */
export interface TrialCounts {
  /** Whole and right. */
  right: number
  /** Whole and wrong. */
  wrong: number
  /** Broken off, or refused. */
  broken: number
}

/** Fetches a shard of each CID, again after a broken body, and counts how bodies ended. Whoever was found out is a stranger again for the next CID. */
export async function viewersTrial ({ viewerUrl, meetStrangers }: LiarLab, cids: readonly string[]): Promise<TrialCounts> {
  const counts = { right: 0, wrong: 0, broken: 0 }
  for (const cid of cids) {
    meetStrangers()
    const right = trialShard(cid)
    for (let tries = 1; tries <= TRIES; tries++) {
      const body = await fetchWhole(`${viewerUrl}/shards/${cid}/shard_3.bin`)
      if (body === undefined) counts.broken++
      else if (right.equals(body)) counts.right++
      else counts.wrong++
      if (body !== undefined) break
    }
  }
  return counts
}

/** A body that ended as its head announced; undefined for any other end. */
async function fetchWhole (url: string): Promise<Buffer | undefined> {
  try {
    const { statusCode, body } = await request(url)
    const bytes = Buffer.from(await body.arrayBuffer())
    return statusCode === 200 ? bytes : undefined
  } catch {
    return undefined
  }
}
