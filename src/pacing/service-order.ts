import { Heap } from './heap.ts'
import { MAX_QUANTUM, MIN_QUANTUM, quantumOf, ROUND_MS, type ShareViewer } from './share-viewer.ts'

/**
 * How far a floor may lag behind its time and still catch up, and how far what came in another way counts against it. More would be credit hoarded while idle,
 * or a punishment for having been served well; less, and a viewer whose floor is about its share gets some of both.
 */
const FLOOR_MEMORY_MS = 100
/** Service in which the crowd forgets two thirds of what has left; ms at the full rate. */
const CROWD_MS = 1000
/** Rounds that a viewer may be ahead of the one that is served next: one is a grant; half of one more makes it rare that what it got is forgiven. */
const MAX_LEAD = 1.5
/** Tags are pulled together when rounds have shrunk by this much; that it is a factor keeps their O(n) rare. */
const NARROWED = 1.25

/**
 * Which of the viewers that wait is served next. A viewer's tag is the virtual time of its next grant, in bytes per weight; the least is served, and its tag
 * grows by what it got (start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996). Before it come viewers with a floor whose bytes are due, earliest first
 * (the real-time criterion of H-FSC: Stoica, Zhang, Ng, SIGCOMM 1997).
 */
export class ServiceOrder<T> {
  /** Viewers that wait and whose cap allows it, by tag. */
  readonly #ready = new Heap<ShareViewer<T>>()
  /** Those of them with a floor, by when its next bytes are due. */
  readonly #due = new Heap<ShareViewer<T>>()
  /** Viewers that wait for their cap, by when it allows the next grant. */
  readonly #capped = new Heap<ShareViewer<T>>()
  /** Bytes per millisecond; Infinity: unlimited. */
  #rate = Infinity
  #weight = 0
  /** The most of it of late: what a round is reckoned from. Viewers come and go between requests and for their caps, and rounds must not jump with them. */
  #crowd = 0
  /** Bytes per millisecond that the ready viewers' floors add up to. */
  #floors = 0
  /** Tag of the last grant; no ready viewer's is less. */
  #virtual = 0
  /** Nobody was further ahead since tags were pulled together, bytes per weight. */
  #widestLead = 0

  /** Viewers that wait for the total. */
  get ready (): number { return this.#ready.size }
  get due (): number { return this.#due.size }
  get capped (): number { return this.#capped.size }

  /** When a cap next allows a viewer that waits for it to be served, monotonic ms. */
  get uncapsAt (): number | undefined { return this.#capped.top?.key }

  /** @param rate bytes per millisecond of the total, Infinity = unlimited */
  setRate (rate: number): void {
    this.#rate = rate
    this.#pullTogether()
  }

  /** Puts a viewer that waits where it belongs; it must be nowhere. */
  enter (viewer: ShareViewer<T>, now: number): void {
    const first = viewer.queue.first
    if (first === undefined) return
    const allowedAt = viewer.allowedAt(first.bytes)
    if (allowedAt > now) {
      this.#capped.push(viewer.capped, allowedAt)
      return
    }
    this.#weight = viewer.weight + (this.#ready.size === 0 ? 0 : this.#weight)
    this.#crowd = Math.max(this.#crowd, this.#weight)
    viewer.tag = Math.max(this.#virtual, this.#drawnIn(viewer))
    this.#ready.push(viewer.ready, viewer.tag)
    if (viewer.floor > 0) {
      this.#floors = viewer.floor + (this.#due.size === 0 ? 0 : this.#floors)
      viewer.dueAt = Math.max(viewer.dueAt, now - FLOOR_MEMORY_MS)
      this.#due.push(viewer.due, viewer.dueAt)
    }
    this.#pullTogether()
  }

  /** Takes a viewer out, wherever it is. */
  withdraw (viewer: ShareViewer<T>): void {
    if (viewer.capped.held) this.#capped.remove(viewer.capped)
    if (viewer.due.held) {
      this.#due.remove(viewer.due)
      this.#floors -= viewer.floor
    }
    if (viewer.ready.held) {
      this.#ready.remove(viewer.ready)
      this.#weight -= viewer.weight
    }
  }

  /** Viewers whose caps allow it by now become ready. */
  promote (now: number): void {
    for (let top = this.#capped.top; top !== undefined && top.key <= now; top = this.#capped.top) {
      this.#capped.remove(top)
      this.enter(top.item, now)
    }
  }

  /** Who is served next. */
  next (now: number): ShareViewer<T> | undefined {
    const due = this.#due.top
    return (due !== undefined && due.key <= now ? due : this.#ready.top)?.item
  }

  /** Bytes that a ready viewer is granted in one go, at most. @param depth of the total's bucket */
  quantum (viewer: ShareViewer<T>, depth: number): number {
    const capped = viewer.cap === undefined ? MAX_QUANTUM : quantumOf(viewer.cap.rate, viewer.cap.depth)
    const share = Math.max(this.#rate * viewer.weight / this.#crowd, viewer.floor * this.#floorScale())
    return Math.min(capped, quantumOf(share, depth))
  }

  /** A ready viewer got `bytes`; it has to be put in its new place. */
  charge (viewer: ShareViewer<T>, bytes: number, now: number): void {
    if (viewer.floor > 0) {
      const lasts = bytes / (viewer.floor * this.#floorScale())
      viewer.dueAt = Math.min(Math.max(viewer.dueAt, now - FLOOR_MEMORY_MS) + lasts, now + Math.max(lasts, ROUND_MS))
    }
    if (this.#ready.top === viewer.ready) this.#virtual = viewer.tag
    this.#crowd += (this.#weight - this.#crowd) * Math.min(1, bytes / (this.#rate * CROWD_MS))
    viewer.tag += bytes / viewer.weight
    this.#widestLead = Math.max(this.#widestLead, Math.min(bytes / viewer.weight, this.#maxLead()))
  }

  /** `bytes` it was charged for come back; it must be nowhere. */
  refund (viewer: ShareViewer<T>, bytes: number): void {
    viewer.tag -= bytes / viewer.weight
    if (viewer.floor > 0) viewer.dueAt -= bytes / viewer.floor
  }

  /** Floors that exceed the total together each get the same part of themselves. */
  #floorScale (): number {
    return this.#floors > this.#rate ? this.#rate / this.#floors : 1
  }

  /** Bytes per weight. */
  #maxLead (): number {
    return MAX_LEAD * this.#rate * ROUND_MS / this.#crowd
  }

  /** A tag no further ahead than it may be; a grant of the least size may always, and so may what its floor brings. */
  #drawnIn (viewer: ShareViewer<T>): number {
    const own = Math.max(MIN_QUANTUM, viewer.floor * FLOOR_MEMORY_MS) / viewer.weight
    return Math.min(viewer.tag, this.#virtual + Math.max(this.#maxLead(), own))
  }

  /** What a viewer got when few waited, or the total was larger, must not make it wait long now that rounds are shorter. */
  #pullTogether (): void {
    if (NARROWED * this.#maxLead() >= this.#widestLead) return
    this.#widestLead = this.#maxLead()
    this.#ready.rekey(viewer => {
      viewer.tag = this.#drawnIn(viewer)
      return viewer.tag
    })
  }
}
