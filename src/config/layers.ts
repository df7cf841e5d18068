import { configKeys, type Config } from './schema.ts'

/** Tables of a configuration as they are written. */
export type Tree = Record<string, unknown>

/** Where a value may come from besides its default; later ones win. */
export const LAYERS = ['file', 'environment', 'flag', 'api'] as const
export type Layer = typeof LAYERS[number]
export type ValueSource = Layer | 'default'

/** What each layer says. */
export type ConfigLayers = Readonly<Record<Layer, Tree>>

/** Tables within tables that are merged key by key: sections, and tables of keys in them. */
const TABLE_DEPTH = 2

export function isTree (value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** Later trees win, key by key; a list is replaced and not merged. What is not a section stays, for validation to name it. */
export function merge (trees: readonly Tree[], depth = TABLE_DEPTH): Tree {
  // Without a prototype, so that a section called __proto__ is a key like any other.
  const merged = Object.create(null) as Tree
  for (const tree of trees) {
    for (const [name, value] of Object.entries(tree)) {
      const before = merged[name]
      // A TOML date is an object in JavaScript and would pass for an empty section; null passes for nothing.
      if (!isTree(value)) merged[name] = value instanceof Date ? null : value
      else if (before === undefined || isTree(before)) merged[name] = depth > 1 ? merge([before ?? {}, value], depth - 1) : { ...before, ...value }
    }
  }
  return merged
}

/** All layers as one. */
export function mergeLayers (layers: ConfigLayers): Tree {
  return merge(LAYERS.map(name => layers[name]))
}

/** The value of a key; undefined where a tree does not have it. */
export function valueAt (tree: Tree, path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, part) => isTree(inner) && Object.hasOwn(inner, part) ? inner[part] : undefined, tree)
}

/** A tree with one key. */
export function treeOf (path: readonly string[], value: unknown): Tree {
  return path.reduceRight<unknown>((inner, part) => ({ [part]: inner }), value) as Tree
}

/** `config` with other values of some keys. @param values by path, joined with dots */
export function withValues (config: Config, values: ReadonlyMap<string, unknown>): Config {
  const keys = configKeys().filter(({ path }) => values.has(path.join('.')))
  return merge([config, ...keys.map(({ path }) => treeOf(path, undefined)), ...keys.map(({ path }) => treeOf(path, values.get(path.join('.'))))]) as Config
}

/** The layer that decides a key. */
export function sourceOf (layers: ConfigLayers, path: readonly string[]): ValueSource {
  return LAYERS.findLast(name => valueAt(layers[name], path) !== undefined) ?? 'default'
}

/** A whole configuration as layers: what is not at its default counts as written in a file. */
export function layersOf (config: Config, defaults: Config): ConfigLayers {
  const own = configKeys().filter(({ path }) => JSON.stringify(valueAt(config, path)) !== JSON.stringify(valueAt(defaults, path)))
  return { file: merge(own.map(({ path }) => treeOf(path, valueAt(config, path)))), environment: {}, flag: {}, api: {} }
}
