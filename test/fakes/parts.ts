import type { ShardKey } from '../../src/protocol/shard-key.ts'
import type { FillState } from '../../src/plugins/shards/running-fill.ts'
import type { UpstreamObject, WantedPart } from '../../src/plugins/upstream/upstream-types.ts'
import { ScriptedFetch } from './upstream.ts'

/** A part of an object that a fill asks for, under the control of a test. */
export class ScriptedPart extends ScriptedFetch {
  readonly part: WantedPart
  readonly state: FillState
  readonly #node: string

  constructor (key: ShardKey, signal: AbortSignal, state: FillState, part: WantedPart, node: string) {
    super(key, signal, { wanted: state.wanted })
    this.part = part
    this.state = state
    this.#node = node
  }

  /** Answers as a super-node does that says what it is asked for. */
  agree (head: { storable?: boolean, repaired?: boolean } = {}): void {
    this.answer({ size: this.part.size, sha256: this.part.sha256, node: this.#node, ...head })
  }

  /** Sends what `body` has of the part, at most `most` bytes of it in pieces of `step`. */
  async give (body: Buffer, most = Infinity, step = Infinity): Promise<void> {
    const { from, to } = this.part
    for (let at = from; at < Math.min(to, from + most);) {
      const piece = body.subarray(at, Math.min(to, from + most, at + step))
      await this.send(piece)
      at += piece.length
    }
  }

  /** All of the part. */
  async deliver (body: Buffer, step = Infinity): Promise<void> {
    this.agree()
    await this.give(body, Infinity, step)
    this.end()
  }
}

/** An origin of parts, each answered by the test; `node-1` is asked first, then `node-2`, and so on. */
export class ScriptedParts {
  readonly key: ShardKey
  readonly asked: ScriptedPart[] = []
  /** Called with each new request; for tests that answer by rule. */
  onPart: (part: ScriptedPart) => void = () => {}

  constructor (key: ShardKey) {
    this.key = key
  }

  readonly fetch = async (signal: AbortSignal, state: FillState, part: WantedPart): Promise<UpstreamObject> => {
    const fetch = new ScriptedPart(this.key, signal, state, part, `node-${this.asked.length + 1}`)
    this.asked.push(fetch)
    this.onPart(fetch)
    return { ...await fetch.object, offset: part.from }
  }

  /** First byte and end of every part that was asked for, in blocks. */
  spans (blockSize: number): readonly (readonly number[])[] {
    return this.asked.map(({ part: { from, to } }) => [from / blockSize, Math.ceil(to / blockSize)])
  }
}
