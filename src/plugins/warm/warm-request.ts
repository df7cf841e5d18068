import { RelayError } from '../../base/errors.ts'
import { DATA_SHARDS, isCid, TOTAL_SHARDS, type ObjectPart, type ShardKey } from '../../protocol/shard-key.ts'
import { wantedVideo, type WarmVideo } from './warm-list.ts'

/** Videos of one job. */
export const MAX_JOB_VIDEOS = 1_000
/** Objects that a job may name one by one: as many as that many videos have shards. */
export const MAX_JOB_SHARDS = MAX_JOB_VIDEOS * TOTAL_SHARDS

/** What is asked for: exactly one of `cids`, `manifest` and `shards`. */
export interface WarmRequest {
  readonly cids?: readonly string[]
  /** URL of a manifest, which names the video by its path. */
  readonly manifest?: string
  readonly shards?: readonly ShardKey[]
  /** Whether parity shards are wanted too, of whole videos. */
  readonly parity?: boolean
  /** Given to the CIDs, for a purge. */
  readonly tags?: readonly string[]
}

/**
 * The CID that the URL of a manifest names. Nobody fetches that URL: what is in a manifest besides the CID comes from super-nodes that the relay asks anyway, so
 * whoever may begin jobs cannot have it ask anybody else.
 * @param template path of manifests at super-nodes, with `{cid}`
 * @throws RelayError RELAY_ERR_BAD_REQUEST
 */
export function cidOfManifest (url: string, template: string): string {
  const path = /^https?:\/\//.test(url) && URL.canParse(url) ? new URL(url).pathname : undefined
  for (const form of ['/shards/{cid}/manifest.json', template]) {
    const [before = '', ...after] = form.split('{cid}')
    const cid = path?.startsWith(before) === true ? /^[A-Za-z0-9_-]*/.exec(path.slice(before.length))?.[0] ?? '' : ''
    if (isCid(cid) && path === [before, ...after].join(cid)) return cid
  }
  throw new RelayError('RELAY_ERR_BAD_REQUEST', `manifest must be an http or https URL with a path like ${template}`)
}

/**
 * The videos of a request, each once, with what is wanted of it.
 * @param template as of {@link cidOfManifest}
 * @throws RelayError RELAY_ERR_BAD_REQUEST
 */
export function videosOf ({ cids, manifest, shards, parity = false }: WarmRequest, template: string): WarmVideo[] {
  const named = [cids, manifest, shards].filter(what => what !== undefined)
  if (named.length !== 1) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'a warm job has exactly one of cids, manifest and shards')
  if (shards !== undefined && parity) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'parity is for whole videos, and shards names what is wanted')
  const whole: ObjectPart[] = ['manifest', ...Array.from({ length: parity ? TOTAL_SHARDS : DATA_SHARDS }, (_, part) => part)]
  const wanted = new Map<string, ObjectPart[]>()
  for (const cid of manifest === undefined ? cids ?? [] : [cidOfManifest(manifest, template)]) wanted.set(cid, whole)
  for (const { cid, part } of shards ?? []) {
    const parts = wanted.get(cid)
    if (parts === undefined) wanted.set(cid, [part])
    else parts.push(part)
  }
  if (wanted.size > MAX_JOB_VIDEOS) throw new RelayError('RELAY_ERR_BAD_REQUEST', `shards names ${wanted.size} videos, and a job has ${MAX_JOB_VIDEOS} at most`)
  return Array.from(wanted, ([cid, parts]) => wantedVideo(cid, parts))
}
