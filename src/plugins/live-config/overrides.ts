/** What operators set over the admin API in the place of configured values, and its file. */
import Type, { type Static } from 'typebox'
import { schemaCheck } from '../../base/schema-check.ts'
import { loadState, parseState } from '../../base/state-file.ts'
import { merge, treeOf, type Tree } from '../../config/layers.ts'
import { configKeys } from '../../config/schema.ts'

export const OVERRIDES_VERSION = 1
/** As large as a configuration file may be. */
const MAX_BYTES = 1_048_576
const MAX_KEYS = 256

const Override = Type.Object({
  value: Type.Unknown(),
  /** When it was set, ms since the epoch. */
  since: Type.Integer({ minimum: 0 })
}, { additionalProperties: false })

const OverridesFile = Type.Object({
  version: Type.Literal(OVERRIDES_VERSION),
  overrides: Type.Record(Type.String({ pattern: '^[a-z][a-z0-9_]*(?:\\.[a-z][a-z0-9_]*)+$' }), Override, { maxProperties: MAX_KEYS, additionalProperties: false })
}, { additionalProperties: false })

const overridesCheck = schemaCheck<Static<typeof OverridesFile>>(OverridesFile)

/** By key, its path joined with dots. There are no more than keys. */
export type Overrides = ReadonlyMap<string, Static<typeof Override>>

export function overridesText (overrides: Overrides): string {
  return `${JSON.stringify({ version: OVERRIDES_VERSION, overrides: Object.fromEntries(overrides) }, undefined, 2)}\n`
}

/** @throws RelayError RELAY_ERR_CONFIG when the text is not a file of this version */
export function parseOverrides (text: string): Overrides {
  return new Map(Object.entries(parseState(text, overridesCheck(), OVERRIDES_VERSION).overrides))
}

/** The overrides kept in a file; none when there is no file, and, with an error in the log, when it cannot be used: see {@link loadState}. */
export async function loadOverrides (file: string, tell: (message: string, fields: Record<string, unknown>) => void): Promise<Overrides> {
  const overrides = await loadState(file, MAX_BYTES, parseOverrides, fields => { tell('what operators set over the admin API cannot be read: the configuration holds', fields) })
  return overrides ?? new Map()
}

/** The overrides as a layer of the configuration. A key that this relay does not have is left out. */
export function overridesTree (overrides: Overrides): Tree {
  return merge(configKeys().flatMap(({ path }) => {
    const override = overrides.get(path.join('.'))
    return override === undefined ? [] : [treeOf(path, override.value)]
  }))
}
