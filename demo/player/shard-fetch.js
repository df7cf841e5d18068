// Fetches objects through the relay, times them, and checks them against the manifest.

/** A failure worth showing: `code` is the relay's, or one of this page. */
export class PlayerError extends Error {
  constructor (code, detail) {
    super(detail)
    this.code = code
  }
}

/** SHA-256 as lower-case hex. */
export async function sha256 (bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('')
}

/** What RFC 9211 `cache-status` says of the relay: hit, miss or unknown. */
export function cacheOutcome (header) {
  for (const member of (header ?? '').split(',')) {
    const [name, ...parameters] = member.split(';').map(part => part.trim())
    if (name !== 'icn-relay') continue
    return parameters.includes('hit') ? 'hit' : parameters.some(parameter => /^fwd(=|$)/.test(parameter)) ? 'miss' : 'unknown'
  }
  return 'unknown'
}

async function problemOf (response) {
  try {
    const problem = await response.json()
    return new PlayerError(problem.code ?? `HTTP ${response.status}`, problem.detail ?? problem.title ?? response.statusText)
  } catch {
    return new PlayerError(`HTTP ${response.status}`, response.statusText || 'the relay gave no reason')
  }
}

/** One object: its bytes, hit or miss, and times in ms. @throws PlayerError */
export async function fetchObject (path, clock = () => performance.now()) {
  const startedAt = clock()
  let response
  try {
    // The page shows the relay's cache, so the browser's own stays out of it.
    response = await fetch(path, { cache: 'no-store' })
  } catch {
    throw new PlayerError('NO_CONNECTION', 'the relay cannot be reached')
  }
  const firstByteAt = clock()
  if (!response.ok) throw await problemOf(response)
  try {
    const bytes = new Uint8Array(await response.arrayBuffer())
    return { bytes, cache: cacheOutcome(response.headers.get('cache-status')), startedAt, firstByteAt, endedAt: clock() }
  } catch {
    throw new PlayerError('BROKEN_BODY', 'the connection ended before the object was complete')
  }
}

/** The manifest of a CID, checked as far as this page relies on it. @throws PlayerError */
export async function fetchManifest (cid) {
  const answer = await fetchObject(`/shards/${cid}/manifest.json`)
  let manifest
  try {
    manifest = JSON.parse(new window.TextDecoder().decode(answer.bytes))
  } catch {
    throw new PlayerError('BAD_MANIFEST', 'the manifest is not JSON')
  }
  const { size, shardSize, dataShards, shards, contentType, sha256: whole } = manifest ?? {}
  const listed = Array.isArray(shards) && shards.length >= dataShards && shards.every((shard, index) => shard?.index === index && /^[0-9a-f]{64}$/.test(shard.sha256))
  const fits = Number.isInteger(dataShards) && dataShards > 0 && Number.isSafeInteger(size) && size > 0 && shardSize === Math.ceil(size / dataShards)
  if (!listed || !fits || typeof contentType !== 'string' || typeof whole !== 'string') throw new PlayerError('BAD_MANIFEST', 'the manifest lacks what the player needs')
  return { manifest, answer }
}

/** One data shard, verified. @throws PlayerError */
export async function fetchShard (manifest, index) {
  const answer = await fetchObject(`/shards/${manifest.cid}/shard_${index}.bin`)
  const digestOk = await sha256(answer.bytes) === manifest.shards[index].sha256
  return { ...answer, digestOk }
}
