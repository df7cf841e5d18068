/** What operators change of the list of super-nodes at run time, and its file. */
import { readFile } from 'node:fs/promises'
import { Type, type Static } from 'typebox'
import { RelayError, systemCode } from '../../base/errors.ts'
import { keepBeside, replaceFile } from '../../base/replace-file.ts'
import { schemaCheck } from '../../base/schema-check.ts'
import { OtherVersionError } from '../../base/state-file.ts'
import type { NodeAddress } from './node-set.ts'
import type { AdminState } from './node-state.ts'
import { MAX_NODES } from './sources/node-source.ts'

/** Drained and disabled nodes; those that no source names any more count too. */
const MAX_STATES = 2 * MAX_NODES

export const CHANGES_VERSION = 1

const Origin = Type.String({ pattern: '^https?://[^/?#@]+$', maxLength: 300 })

const ChangesFile = Type.Object({
  version: Type.Literal(CHANGES_VERSION),
  added: Type.Array(Type.Object({ url: Origin, region: Type.String({ pattern: '^[A-Z0-9-]{1,32}$' }) }, { additionalProperties: false }), { maxItems: MAX_NODES }),
  removed: Type.Array(Origin, { maxItems: MAX_NODES }),
  states: Type.Record(Type.String(), Type.Union([Type.Literal('draining'), Type.Literal('disabled')]), { maxProperties: MAX_STATES })
}, { additionalProperties: false })

const changesCheck = schemaCheck<Static<typeof ChangesFile>>(ChangesFile)

/** Additions, removals and states, applied to whatever the sources name. Bounded by {@link MAX_NODES} each. */
export class NodeChanges {
  #added = new Map<string, NodeAddress>()
  #removed = new Set<string>()
  #states = new Map<string, AdminState>()

  /** @throws RelayError RELAY_ERR_CONFIG when the text is not a file of ours */
  static parse (text: string, name: string): NodeChanges {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      throw new RelayError('RELAY_ERR_CONFIG', `${name} is not JSON; remove it to forget the changes of operators`, { cause: error })
    }
    if (typeof value === 'object' && value !== null && 'version' in value && typeof value.version === 'number' && value.version !== CHANGES_VERSION) {
      throw new OtherVersionError('RELAY_ERR_CONFIG', `${name} is of version ${value.version}, and this relay reads ${CHANGES_VERSION}: start the relay that wrote it, or move it away to start without the changes of operators`)
    }
    const isChanges = changesCheck()
    if (!isChanges(value)) {
      const [error] = isChanges.errors ?? []
      throw new RelayError('RELAY_ERR_CONFIG', `${name}${error?.instancePath ?? ''} ${error?.message ?? 'is wrong'}; remove the file to forget the changes of operators`)
    }
    const changes = new NodeChanges()
    changes.#added = new Map(value.added.map(node => [node.url, node]))
    changes.#removed = new Set(value.removed)
    changes.#states = new Map(Object.entries(value.states))
    return changes
  }

  toText (): string {
    return `${JSON.stringify({ version: CHANGES_VERSION, added: [...this.#added.values()], removed: [...this.#removed], states: Object.fromEntries(this.#states) }, undefined, 2)}\n`
  }

  /** The nodes there are: what the sources name, less what was removed, and what was added. */
  apply (named: readonly NodeAddress[]): NodeAddress[] {
    const nodes = new Map(named.filter(({ url }) => !this.#removed.has(url)).map(node => [node.url, node]))
    for (const [url, node] of this.#added) {
      if (nodes.size < MAX_NODES && !nodes.has(url)) nodes.set(url, node)
    }
    return [...nodes.values()]
  }

  state (url: string): AdminState { return this.#states.get(url) ?? 'enabled' }

  /** @throws RelayError RELAY_ERR_BAD_REQUEST when there are too many */
  add ({ url, region }: NodeAddress): void {
    this.#removed.delete(url)
    if (!this.#added.has(url) && this.#added.size >= MAX_NODES) throw new RelayError('RELAY_ERR_BAD_REQUEST', `${MAX_NODES} super-nodes have been added already`)
    this.#added.set(url, { url, region })
  }

  /** @throws RelayError RELAY_ERR_BAD_REQUEST when there are too many */
  remove (url: string): void {
    this.#states.delete(url)
    // One that a source names as well must not come back with the next answer of the source.
    this.#added.delete(url)
    if (!this.#removed.has(url) && this.#removed.size >= MAX_NODES) throw new RelayError('RELAY_ERR_BAD_REQUEST', `${MAX_NODES} super-nodes have been removed already`)
    this.#removed.add(url)
  }

  /** @throws RelayError RELAY_ERR_BAD_REQUEST when there are too many that are not enabled */
  setState (url: string, state: AdminState): void {
    if (state === 'enabled') {
      this.#states.delete(url)
      return
    }
    if (!this.#states.has(url) && this.#states.size >= MAX_STATES) throw new RelayError('RELAY_ERR_BAD_REQUEST', `${MAX_STATES} super-nodes are drained or disabled already`)
    this.#states.set(url, state)
  }
}

/** Where the text of `file` is kept a second time. */
export function lastGood (file: string): string {
  return `${file}.last-good`
}

/** Writes the changes to `file`. The copy comes first: whatever becomes of the file later, the copy is whole and as new. */
export async function saveChanges (file: string, changes: NodeChanges): Promise<void> {
  const text = changes.toText()
  await replaceFile(lastGood(file), text)
  await replaceFile(file, text)
}

type Warn = (message: string, fields: Record<string, unknown>) => void

/**
 * Reads the changes kept in `file`, or in its copy when it is damaged; none when there is no file. What cannot be read is kept beside.
 * @throws RelayError RELAY_ERR_CONFIG when neither can be used, or when another version of the relay wrote the file
 */
export async function loadChanges (file: string, warn: Warn): Promise<NodeChanges> {
  const copy = lastGood(file)
  try {
    const changes = await readChanges(file)
    // A file of before there were copies, or one that somebody edited.
    if (changes !== undefined && await readChanges(copy).then(kept => kept?.toText(), () => undefined) !== changes.toText()) await renewCopy(copy, changes, warn)
    return changes ?? new NodeChanges()
  } catch (error) {
    if (error instanceof OtherVersionError) throw error
    const kept = await readChanges(copy).catch(() => undefined)
    if (kept === undefined) throw error
    // What somebody edited may have one comma too many, and would be gone with the next change.
    const beside = await keepBeside(file, 'damaged').catch(() => undefined)
    warn('the list of super-nodes is damaged, the last good one is used', { file, copy, keptAs: beside, reason: error instanceof Error ? error.message : String(error) })
    if (beside !== undefined) await replaceFile(file, kept.toText()).catch(() => {})
    return kept
  }
}

async function renewCopy (copy: string, changes: NodeChanges, warn: Warn): Promise<void> {
  try {
    await readChanges(copy).catch(async (error: unknown) => {
      if (error instanceof OtherVersionError) warn('a copy of the list of super-nodes is of another version of the relay', { file: copy, keptAs: await keepBeside(copy, 'other-version') })
    })
    await replaceFile(copy, changes.toText())
  } catch (error) {
    warn('the list of super-nodes cannot be copied', { file: copy, reason: systemCode(error) })
  }
}

/** Undefined when there is no such file. @throws RelayError RELAY_ERR_CONFIG */
async function readChanges (file: string): Promise<NodeChanges | undefined> {
  try {
    return NodeChanges.parse(await readFile(file, 'utf8'), file)
  } catch (error) {
    if (error instanceof RelayError) throw error
    if (systemCode(error) === 'ENOENT') return undefined
    throw new RelayError('RELAY_ERR_CONFIG', `${file} cannot be read: ${systemCode(error) ?? 'unknown error'}`, { cause: error })
  }
}
