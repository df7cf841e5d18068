import { readFileSync, statSync } from 'node:fs'
import type { ErrorObject } from 'ajv'
import { parse as parseToml, TomlError } from 'smol-toml'
import { RelayError } from '../base/errors.ts'
import { readText, tooLarge, unreadable, type FileText } from '../base/read-text.ts'
import { schemaCheck } from '../base/schema-check.ts'
import { crossChecks } from './cross-checks.ts'
import { ADMIN_TOKEN } from '../plugins/admin/config.ts'
import { isTree, merge, mergeLayers, type ConfigLayers, type Tree } from './layers.ts'
import { configKeys, ConfigSchema, configTables, type Config } from './schema.ts'
import { fromUnits, isDeeper, MAX_DEPTH, nearest, UNIT_EXAMPLES, type Unit } from './text.ts'

export type { Config } from './schema.ts'

const PREFIX = 'ICN_RELAY_'
/** Largest configuration file, bytes. */
export const MAX_CONFIG_BYTES = 1_048_576
/** Largest file of one token, bytes: the token and the white space around it. */
const MAX_TOKEN_FILE_BYTES = 4_096

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

/** At start, when a pipe may be waited for. */
function readNow (path: string, maxBytes: number): FileText {
  try {
    if (statSync(path).size > maxBytes) return tooLarge(maxBytes)
    const text = readFileSync(path, 'utf8')
    return Buffer.byteLength(text) > maxBytes ? tooLarge(maxBytes) : { text }
  } catch (error) {
    return unreadable(error)
  }
}

function configText (path: string, file: FileText): ConfigText {
  return 'problem' in file ? fail(`configuration file "${path}" ${file.problem}`) : { path, text: file.text }
}

function parseFile ({ path, text }: ConfigText): Tree {
  try {
    return parseToml(text)
  } catch (error) {
    return fail(`${path}: ${error instanceof TomlError ? `line ${error.line}: ${error.message.split('\n')[0] ?? ''}` : String(error)}`)
  }
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
  'cache.ttl': '{ media_type = "application/json", ttl_ms = "1h", stale_if_error_ms = "7d" }',
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
    const { unit, items } = schema as WithUnits
    const table = path.slice(0, -1).reduce<unknown>((inner, part) => isTree(inner) && Object.hasOwn(inner, part) ? inner[part] : undefined, tree)
    const name = path.at(-1) ?? ''
    convertUnit(table, name, unit)
    const list = items?.properties !== undefined && isTree(table) && Object.hasOwn(table, name) ? table[name] : undefined
    if (!Array.isArray(list)) continue
    for (const item of list) for (const [key, inner] of Object.entries(items?.properties ?? {})) convertUnit(item, key, inner.unit)
  }
}

/** A key, or the tables of a list. */
interface WithUnits {
  readonly unit?: Unit
  readonly items?: { readonly properties?: Readonly<Record<string, WithUnits>> }
}

function convertUnit (table: unknown, name: string, unit: Unit | undefined): void {
  if (unit === undefined || !isTree(table) || !Object.hasOwn(table, name)) return
  const text = table[name]
  if (typeof text === 'string') table[name] = fromUnits(text, unit) ?? text
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

/** Files of admin tokens that a configuration names. */
export function tokenFiles ({ admin }: Pick<Config, 'admin'>): string[] {
  return [...new Set(admin.tokens.flatMap(({ token_file: file }) => file ?? []))]
}

/** Replaces every `token_file` by what the file holds. */
function withTokens (config: Config, textOf: (file: string) => FileText): Config {
  const tokens = config.admin.tokens.map(({ token_file: file, ...item }, position) => {
    if (file === undefined) return item
    const name = `admin.tokens.${position}.token_file ${file}`
    const read = textOf(file)
    if ('problem' in read) return fail(`${name} ${read.problem}`)
    const token = read.text.trim()
    return ADMIN_TOKEN.test(token) ? { ...item, token } : fail(`${name} must hold one token of 16 to 512 ASCII characters without spaces`)
  })
  return { ...config, admin: { ...config.admin, tokens } }
}

/**
 * A configuration with the admin tokens of its files.
 * @throws RelayError RELAY_ERR_CONFIG naming the key and the file
 */
export async function readTokens (config: Config): Promise<Config> {
  const texts = new Map(await Promise.all(tokenFiles(config).map(async file => [file, await readText(file, MAX_TOKEN_FILE_BYTES)] as const)))
  return withTokens(config, file => texts.get(file) ?? { problem: 'was not read' })
}

/**
 * One configuration of file, environment and command line, of which later ones win; files of secrets are not read.
 * @throws RelayError RELAY_ERR_CONFIG naming every key that is wrong
 */
export function combine (file: ConfigText | undefined, env: NodeJS.ProcessEnv, flags: Tree): Config {
  return checkConfig(merge([file === undefined ? {} : parseFile(file), readEnvironment(env), flags]))
}

/** Path of the configuration file; undefined without one. */
export function configFile (commandLine: ConfigFlags, env: NodeJS.ProcessEnv): string | undefined {
  return commandLine.config ?? env[`${PREFIX}CONFIG`]
}

function layers (file: ConfigText | undefined, { cachePath, region }: ConfigFlags, env: NodeJS.ProcessEnv): ConfigLayers {
  const flag = { ...cachePath === undefined ? {} : { cache: { path: cachePath } }, ...region === undefined ? {} : { region: { override: region } } }
  return { file: file === undefined ? {} : parseFile(file), environment: readEnvironment(env), flag, api: {} }
}

/** Reads file, environment and command line, at start. @throws RelayError RELAY_ERR_CONFIG */
export function startLayers (commandLine: ConfigFlags, env: NodeJS.ProcessEnv): ConfigLayers {
  const path = configFile(commandLine, env)
  return layers(path === undefined ? undefined : configText(path, readNow(path, MAX_CONFIG_BYTES)), commandLine, env)
}

/** Reads them again, while the relay runs. @throws RelayError RELAY_ERR_CONFIG */
export async function readLayers (commandLine: ConfigFlags, env: NodeJS.ProcessEnv): Promise<ConfigLayers> {
  const path = configFile(commandLine, env)
  return layers(path === undefined ? undefined : configText(path, await readText(path, MAX_CONFIG_BYTES)), commandLine, env)
}

/**
 * The configuration of file, environment and command line, with the admin tokens of its files.
 * @throws RelayError RELAY_ERR_CONFIG naming every key that is wrong
 */
export function configOf (layers: ConfigLayers): Config {
  return withTokens(checkConfig(mergeLayers(layers)), file => readNow(file, MAX_TOKEN_FILE_BYTES))
}

/**
 * Reads file, environment and command line into one configuration.
 * @throws RelayError RELAY_ERR_CONFIG naming every key that is wrong
 */
export function loadConfig (commandLine: ConfigFlags, env: NodeJS.ProcessEnv): Config {
  return configOf(startLayers(commandLine, env))
}
