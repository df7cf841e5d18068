/** Where a CPU profile says the time went. */
import { sourcePlaces, type Place } from './source-places.ts'

/** As V8 writes it (Chrome DevTools Protocol, `Profiler.Profile`), as far as it is read here. */
export interface CpuProfile {
  readonly nodes: ReadonlyArray<{
    readonly id: number
    readonly callFrame: Place & { readonly functionName: string }
    readonly children?: readonly number[]
  }>
  /** Node on top of the stack, for each sample. */
  readonly samples?: readonly number[]
  /** Microseconds between a sample and the one before. */
  readonly timeDeltas?: readonly number[]
}

export interface HotSpot {
  /**
   * Function and place in the file, as `parse session/request-codec.ts:12`, of the source where there is a map to it; V8's own words in brackets: `(garbage collector)`, `(program)`.
   * A function of native code comes with who calls it, `writev from writevGeneric node:internal/stream_base_commons:121`: all
   * functions of Node-API share one name in V8, whatever it is.
   */
  readonly place: string
  /** Time in the function itself, not in what it calls; a part of the time that was neither idle nor the profiler's. */
  readonly share: number
}

type Frame = CpuProfile['nodes'][number]['callFrame']

/** Native functions: waiting, and the profiler's own work. Scripts may have a `dispatch` too, and undici has. */
const NOT_COUNTED = new Set(['(idle)', 'dispatch'])

function scriptPlace (frame: Frame, sourceOf: (place: Place) => Place): string {
  const { functionName } = frame
  const { url, lineNumber } = sourceOf(frame)
  return `${functionName === '' ? '(anonymous)' : functionName} ${url.replace(/^.*\/(?=[^/]*\/[^/]*$)/, '')}:${lineNumber + 1}`
}

/** Names of all nodes by their id; undefined for those whose time does not count. */
function placesOf (nodes: CpuProfile['nodes']): Map<number, string | undefined> {
  const sourceOf = sourcePlaces()
  const callers = new Map(nodes.flatMap(node => (node.children ?? []).map(child => [child, node.callFrame] as const)))
  return new Map(nodes.map(({ id, callFrame }) => {
    if (callFrame.url !== '') return [id, scriptPlace(callFrame, sourceOf)]
    if (NOT_COUNTED.has(callFrame.functionName)) return [id, undefined]
    const caller = callers.get(id)
    return [id, caller === undefined || caller.url === '' || callFrame.functionName.startsWith('(') ? callFrame.functionName : `${callFrame.functionName} from ${scriptPlace(caller, sourceOf)}`]
  }))
}

/** The functions that took most of the time themselves, the most expensive first. @param count how many at most */
export function hotSpots ({ nodes, samples = [], timeDeltas = [] }: CpuProfile, count: number): HotSpot[] {
  const places = placesOf(nodes)
  const spent = new Map<string, number>()
  let busy = 0
  for (const [index, id] of samples.entries()) {
    const place = places.has(id) ? places.get(id) : '(unknown)'
    // Clocks of a virtual machine may step back.
    const time = Math.max(0, timeDeltas[index] ?? 0)
    if (place === undefined) continue
    busy += time
    spent.set(place, (spent.get(place) ?? 0) + time)
  }
  return [...spent].sort(([, a], [, b]) => b - a).slice(0, count).map(([place, time]) => ({ place, share: time / Math.max(1, busy) }))
}
