import { keyId, TOTAL_SHARDS, type ObjectPart, type ShardKey } from '../../protocol/shard-key.ts'

/** What became of an object: `fetched` by the job; `present`, the cache had it, or a viewer had it brought in. */
export type WarmOutcome = 'fetched' | 'present' | 'failed'

/** How far each object of a video is: a character for each shard by its number, and one for the manifest, see {@link STEPS}. */
export interface WarmVideo {
  readonly cid: string
  readonly parts: string
}

/** Videos that are through, and are not listed any more. */
export interface WarmedVideos {
  readonly videos: number
  readonly fetched: number
  readonly present: number
}

/** Objects of a job by how far they are; `pending` has those under way. */
export interface WarmCounts {
  readonly total: number
  readonly pending: number
  readonly fetched: number
  readonly present: number
  readonly failed: number
}

/** Shards and the manifest of a video. */
export const OBJECTS = TOTAL_SHARDS + 1

/** Characters of {@link WarmVideo}: not wanted, pending, and the outcomes. */
export const STEPS = { unwanted: '-', pending: '.', fetched: '+', present: '=', failed: '!' } as const

type Step = keyof typeof STEPS

const BY_CHARACTER = new Map<string, Step>(Object.entries(STEPS).map(([step, character]) => [character, step as Step]))
/** The manifest first: with it the shards can be verified block by block as they come. */
const ORDER: readonly ObjectPart[] = ['manifest', ...Array.from({ length: TOTAL_SHARDS }, (_, part) => part)]

const placeOf = (part: ObjectPart): number => part === 'manifest' ? TOTAL_SHARDS : part

/** A video of which these objects are wanted, none of them here yet. */
export function wantedVideo (cid: string, parts: Iterable<ObjectPart>): WarmVideo {
  const characters = Array.from({ length: OBJECTS }, (): string => STEPS.unwanted)
  for (const part of parts) characters[placeOf(part)] = STEPS.pending
  return { cid, parts: characters.join('') }
}

/**
 * The objects that a job is to bring in, and how far each is. One that is taken is settled or put back by whoever took it; as long as it is neither, it counts
 * as pending, so that a crash loses none. Videos that are through are counted and forgotten.
 */
export class WarmList {
  readonly #videos = new Map<string, Step[]>()
  #queue: ShardKey[] = []
  /** How many of the queue were taken; it is cut when half of it was. */
  #next = 0
  readonly #taken = new Set<string>()
  #through: WarmedVideos
  readonly #counts = { pending: 0, fetched: 0, present: 0, failed: 0 }

  /** @param videos each once @throws RangeError when a video has other characters than {@link STEPS}, or is there twice */
  constructor (videos: Iterable<WarmVideo>, through: WarmedVideos = { videos: 0, fetched: 0, present: 0 }) {
    this.#through = through
    for (const { cid, parts } of videos) {
      const steps = [...parts].map(character => BY_CHARACTER.get(character) ?? unknown(cid))
      if (steps.length !== OBJECTS || this.#videos.has(cid)) unknown(cid)
      this.#videos.set(cid, steps)
      for (const step of steps) if (step !== 'unwanted') this.#counts[step]++
      this.#enqueue(cid, steps)
      this.#leaveOut(cid, steps)
    }
  }

  get counts (): WarmCounts {
    const { pending, fetched, present, failed } = this.#counts
    const counts = { pending, fetched: fetched + this.#through.fetched, present: present + this.#through.present, failed }
    return { total: counts.pending + counts.fetched + counts.present + counts.failed, ...counts }
  }

  /** Videos of the job, those that are through included. */
  get videos (): number { return this.#videos.size + this.#through.videos }
  /** Those that are not through. */
  get listed (): number { return this.#videos.size }
  get through (): WarmedVideos { return this.#through }
  /** Objects under way. */
  get taken (): number { return this.#taken.size }

  /** Whether a video is not through. */
  has (cid: string): boolean {
    return this.#videos.has(cid)
  }

  /** The next object to bring in; undefined when each is settled or under way. */
  take (): ShardKey | undefined {
    const key = this.#queue[this.#next]
    if (key === undefined) return undefined
    this.#next++
    if (this.#next * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#next)
      this.#next = 0
    }
    this.#taken.add(keyId(key))
    return key
  }

  /** It could not be brought in now: its turn comes again after all others. */
  putBack (key: ShardKey): void {
    this.#release(key)
    this.#queue.push(key)
  }

  settle (key: ShardKey, outcome: WarmOutcome): void {
    const steps = this.#release(key)
    steps[placeOf(key.part)] = outcome
    this.#counts.pending--
    this.#counts[outcome]++
    this.#leaveOut(key.cid, steps)
  }

  /** What failed is pending again. @returns how many objects that are */
  retry (): number {
    const { failed } = this.#counts
    for (const [cid, steps] of this.#videos) {
      const again = steps.map((step): Step => step === 'failed' ? 'pending' : 'unwanted')
      for (const [place, step] of again.entries()) if (step === 'pending') steps[place] = step
      this.#enqueue(cid, again)
    }
    this.#counts.pending += failed
    this.#counts.failed = 0
    return failed
  }

  /** Videos that are not through, as a list of them takes them. */
  snapshot (): WarmVideo[] {
    return Array.from(this.#videos, ([cid, steps]) => ({ cid, parts: steps.map(step => STEPS[step]).join('') }))
  }

  #enqueue (cid: string, steps: readonly Step[]): void {
    for (const part of ORDER) if (steps[placeOf(part)] === 'pending') this.#queue.push({ cid, part })
  }

  #release (key: ShardKey): Step[] {
    const steps = this.#videos.get(key.cid)
    if (!this.#taken.delete(keyId(key)) || steps === undefined) throw new Error(`${keyId(key)} was not taken`)
    return steps
  }

  #leaveOut (cid: string, steps: readonly Step[]): void {
    if (steps.includes('pending') || steps.includes('failed')) return
    const count = (wanted: Step): number => steps.filter(step => step === wanted).length
    const [fetched, present] = [count('fetched'), count('present')]
    this.#videos.delete(cid)
    this.#counts.fetched -= fetched
    this.#counts.present -= present
    this.#through = { videos: this.#through.videos + 1, fetched: this.#through.fetched + fetched, present: this.#through.present + present }
  }
}

function unknown (cid: string): never {
  throw new RangeError(`the objects of ${cid} are wrong`)
}
