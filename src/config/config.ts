import { readFileSync } from 'node:fs'
import type { ErrorObject } from 'ajv'
import { parse as parseToml, TomlError } from 'smol-toml'
import { RelayError, systemCode } from '../base/errors.ts'
import { schemaCheck } from '../base/schema-check.ts'
import { crossChecks } from './cross-checks.ts'
import { ADMIN_TOKEN } from '../plugins/admin/config.ts'
import { configKeys, ConfigSchema, configTables, type Config } from './schema.ts'
import { fromUnits, isDeeper, MAX_DEPTH, nearest, UNIT_EXAMPLES, type Unit } from './text.ts'

export type { Config } from './schema.ts'

const PREFIX = 'ICN_RELAY_'
/** Tables within tables that are merged key by key: sections, and tables of keys in them. */
const TABLE_DEPTH = 2

type Tree = Record<string, unknown>

/** What the command line says of the configuration; undefined where it is silent. */
export type ConfigFlags = Readonly<Record<'config' | 'cachePath' | 'region', string | undefined>>

/** A configuration file that has been read. */
export interface ConfigText {
  readonly path: string
  readonly text: string
}

function fail (detail: string): never {
  throw new RelayError('RELAY_ERR_CONFIG', detail)
}

function isTree (value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** Name of the environment variable of a key. @param path its section, the table within that, if any, and its name */
export function environmentName (...path: readonly string[]): string {
  return `${PREFIX}${path.join('_')}`.toUpperCase()
}

/** A string from the environment as the type its schema asks for; anything else is left for validation to name. */
function fromText (text: string, type: unknown): unknown {
  if (type === 'integer' && /^-?\d+$/.test(text)) return Number(text)
  // As in TOML and JSON: no hexadecimal, no Infinity, no empty string.
  if (type === 'number' && /^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  if (type === 'array' || type === 'object') {
    try {
      return JSON.parse(text)
    } catch {
      return text
    }
  }
  return text
}

function suggestion (name: string, known: readonly string[]): string {
  const meant = nearest(name.toLowerCase(), known.map(other => other.toLowerCase()))
  return meant === undefined ? '' : `; did you mean ${meant.toUpperCase()}?`
}

function readEnvironment (env: NodeJS.ProcessEnv): Tree {
  const known = new Map(configKeys().map(({ path, schema }) => [environmentName(...path), { path, type: (schema as { type?: unknown }).type }]))
  const root: Tree = {}
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || name === `${PREFIX}CONFIG` || text === undefined) continue
    const { path, type } = known.get(name) ?? fail(`environment: ${name} is not a configuration key${suggestion(name, [...known.keys()])}`)
    const table = path.slice(0, -1).reduce<Tree>((tree, part) => (tree[part] ??= {}) as Tree, root)
    table[path.at(-1) ?? ''] = fromText(text, type)
  }
  return root
}

function readFile (path: string): ConfigText {
  try {
    return { path, text: readFileSync(path, 'utf8') }
  } catch (error) {
    return fail(`configuration file "${path}" cannot be read: ${systemCode(error) ?? String(error)}`)
  }
}

function parseFile ({ path, text }: ConfigText): Tree {
  try {
    return parseToml(text)
  } catch (error) {
    return fail(`${path}: ${error instanceof TomlError ? `line ${error.line}: ${error.message.split('\n')[0] ?? ''}` : String(error)}`)
  }
}

/** Later layers win, key by key; a list is replaced and not merged. What is not a section stays, for validation to name it. */
function merge (layers: readonly Tree[], depth = TABLE_DEPTH): Tree {
  // Without a prototype, so that a section called __proto__ is a key like any other.
  const merged = Object.create(null) as Tree
  for (const layer of layers) {
    for (const [name, value] of Object.entries(layer)) {
      const before = merged[name]
      // A TOML date is an object in JavaScript and would pass for an empty section; null passes for nothing.
      if (!isTree(value)) merged[name] = value instanceof Date ? null : value
      else if (before === undefined || isTree(before)) merged[name] = depth > 1 ? merge([before ?? {}, value], depth - 1) : { ...before, ...value }
    }
  }
  return merged
}

function describe (error: ErrorObject): string {
  const at = error.instancePath.slice(1).replaceAll('/', '.')
  const name = at === '' ? 'configuration' : at
  if (error.keyword === 'additionalProperties') {
    const key = String(error.params['additionalProperty'])
    const meant = nearest(key, Object.keys((error.parentSchema as { properties?: object }).properties ?? {}))
    return (at === '' ? `unknown section or key ${key}` : `unknown key ${at}.${key}`) + (meant === undefined ? '' : `; did you mean ${meant}?`)
  }
  const { mustBe, unit } = error.parentSchema as { mustBe?: string, unit?: Unit }
  if (error.keyword === 'type' && unit !== undefined && typeof error.data === 'string') return `${name} must be ${UNIT_EXAMPLES[unit]}`
  if (mustBe !== undefined && ['pattern', 'type'].includes(error.keyword)) return `${name} ${mustBe}`
  // Every anyOf of the schema is a choice of constants.
  if (error.keyword === 'anyOf') return `${name} must be one of ${(error.schema as { const?: unknown }[]).map(option => String(option.const)).join(', ')}`
  const example = typeof error.data === 'string' && ['object', 'array'].includes(String(error.params['type'])) ? exampleOf(at) : undefined
  return `${name} ${error.message ?? 'is invalid'}${example === undefined ? '' : `; for example ${example}`}`
}

/** Tables as they stand in lists, by key. */
const ITEMS: Readonly<Record<string, string>> = {
  'upstream.super_nodes': '{ url = "http://super-1.example:9002", region = "NA-WEST" }',
  'upstream.siblings': '{ url = "https://relay-2.example:9003", region = "NA-WEST" }',
  'upstream.dns': '{ dns = "_relay._tcp.example.org", type = "SRV", region = "EU-WEST" }',
  'admin.tokens': '{ token_file = "/etc/icn-relay/admin-token", scope = "write" }',
  'auth.signed_urls.keys': '{ kid = "2026-01", secret_file = "/etc/icn-relay/signing-key" }',
  'bandwidth.ladder': '{ rendition = "480p", min_bps = 1000000 }'
}

/** How a table or a list is written where a string stands. @param at path of the key */
function exampleOf (at: string): string | undefined {
  const item = ITEMS[at.replace(/\.\d+$/, '')]
  if (item !== undefined) return /\.\d+$/.test(at) ? item : `${at.split('.').at(-1)} = [${item}]`
  const table = configTables().find(({ path }) => path.join('.') === at)
  const key = table?.keys[0]
  if (key !== undefined) return `[${at}] and below it ${key.path.at(-1)} = ${JSON.stringify((key.schema as { default?: unknown }).default)}`
  const list = configKeys().find(({ path }) => path.join('.') === at)?.schema as { type?: string, default?: unknown } | undefined
  return list?.type === 'array' ? `${at.split('.').at(-1)} = ${JSON.stringify((list.default as unknown[]).length > 0 ? list.default : ['…'])}` : undefined
}

/** Sizes and times with units as the numbers they stand for; what is neither is left for validation to name. Changes the tree. */
function convertUnits (tree: Tree): void {
  for (const { path, schema } of configKeys()) {
    const { unit } = schema as { unit?: Unit }
    const name = path.at(-1) ?? ''
    const table = path.slice(0, -1).reduce<unknown>((inner, part) => isTree(inner) && Object.hasOwn(inner, part) ? inner[part] : undefined, tree)
    if (unit === undefined || !isTree(table) || !Object.hasOwn(table, name)) continue
    const text = table[name]
    if (typeof text === 'string') table[name] = fromUnits(text, unit) ?? text
  }
}

const configCheck = schemaCheck<Config>(ConfigSchema, { allErrors: true, useDefaults: true, coerceTypes: false, strict: false, verbose: true })

/**
 * Validates a configuration tree and fills in defaults.
 * @throws RelayError RELAY_ERR_CONFIG with one line for every problem
 */
export function checkConfig (tree: Tree): Config {
  const deep = Object.entries(tree).find(([, value]) => isDeeper(value, MAX_DEPTH))
  if (deep !== undefined) fail(`${deep[0]} has tables or lists more than ${MAX_DEPTH} deep`)
  const config: unknown = structuredClone(tree)
  if (isTree(config)) convertUnits(config)
  const validate = configCheck()
  if (!validate(config)) {
    const errors = validate.errors ?? []
    // A value of the wrong type or outside a choice fails other checks as well; one line says it.
    const decisive = (path: string) => ['anyOf', 'type'].find(keyword => errors.some(error => error.keyword === keyword && error.instancePath === path))
    const lines = errors.filter(error => error.keyword === (decisive(error.instancePath) ?? error.keyword)).map(describe)
    return fail([...new Set(lines)].join('\n'))
  }
  const problems = crossChecks(config)
  if (problems.length > 0) fail(problems.join('\n'))
  return config
}

/** The configuration with every key at its default. */
export function defaultConfig (): Config {
  const config: unknown = {}
  if (!configCheck()(config)) throw new Error('the defaults do not pass their own schema')
  return config
}

/** Replaces `token_file` by what the file holds. */
function readSecrets (config: Config): Config {
  const tokens = config.admin.tokens.map((item, position) => {
    if (item.token_file === undefined) return item
    let token: string
    try {
      token = readFileSync(item.token_file, 'utf8').trim()
    } catch (error) {
      return fail(`admin.tokens.${position}.token_file ${item.token_file} cannot be read: ${systemCode(error) ?? String(error)}`)
    }
    if (!ADMIN_TOKEN.test(token)) fail(`admin.tokens.${position}.token_file ${item.token_file} must hold one token of 16 to 512 ASCII characters without spaces`)
    return { token, scope: item.scope }
  })
  return { ...config, admin: { ...config.admin, tokens } }
}

/**
 * One configuration of file, environment and command line, of which later ones win; files of secrets are not read.
 * @throws RelayError RELAY_ERR_CONFIG naming every key that is wrong
 */
export function combine (file: ConfigText | undefined, env: NodeJS.ProcessEnv, flags: Tree): Config {
  return checkConfig(merge([file === undefined ? {} : parseFile(file), readEnvironment(env), flags]))
}

/**
 * Reads file, environment and command line into one configuration.
 * @throws RelayError RELAY_ERR_CONFIG naming every key that is wrong
 */
export function loadConfig (commandLine: ConfigFlags, env: NodeJS.ProcessEnv): Config {
  const path = commandLine.config ?? env[`${PREFIX}CONFIG`]
  const flags: Record<string, Tree> = {}
  if (commandLine.cachePath !== undefined) flags['cache'] = { path: commandLine.cachePath }
  if (commandLine.region !== undefined) flags['region'] = { override: commandLine.region }
  return readSecrets(combine(path === undefined ? undefined : readFile(path), env, flags))
}
