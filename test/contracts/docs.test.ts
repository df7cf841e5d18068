import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse as parseToml } from 'smol-toml'
import { MAN_PAGE, manPage } from '../../scripts/man-page.ts'
import { FILE, withTables } from '../../scripts/docs-tables.ts'
import { COMMANDS } from '../../src/cli/command-table.ts'
import { ERRORS } from '../../src/base/errors.ts'
import { checkConfig, environmentName } from '../../src/config/config.ts'
import { configKeys, ConfigSchema, configTables } from '../../src/config/schema.ts'
import { METRICS } from '../../src/plugins/metrics/definitions.ts'

const SOURCE = new URL('../../src/', import.meta.url)

/** Source files by path below src/, without comments. */
async function sources (): Promise<Map<string, string>> {
  const files = (await readdir(SOURCE, { recursive: true })).filter(name => name.endsWith('.ts'))
  const read = async (name: string): Promise<[string, string]> => {
    const text = await readFile(new URL(name, SOURCE), 'utf8')
    return [name, text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')]
  }
  return new Map(await Promise.all(files.map(read)))
}

function matches (text: string, pattern: RegExp): Set<string> {
  return new Set([...text.matchAll(pattern)].map(match => match[1] ?? match[0]))
}

suite('error codes', () => {
  test('every code the source throws is defined, and every one defined is thrown', async () => {
    const used = new Set<string>()
    for (const [name, text] of await sources()) {
      if (name !== 'base/errors.ts') for (const code of matches(text, /'(RELAY_ERR_[A-Z_]+)'/g)) used.add(code)
    }
    assert.deepEqual([...used].sort(), Object.keys(ERRORS).sort())
  })

  test('a code has an error status and a title of its own', () => {
    const titles = Object.values(ERRORS).map(({ title }) => title)
    assert.equal(new Set(titles).size, titles.length)
    for (const [code, { status }] of Object.entries(ERRORS)) assert.ok(status >= 400 && status <= 599, code)
  })
})

test('every metric that is defined is written somewhere in the source', async () => {
  const text = [...await sources()].filter(([name]) => !/^(?:cli\/|plugins\/(?:metrics\/definitions|[^/]+\/metrics)\.ts$)/.test(name)).map(([, source]) => source).join('\n')
  assert.deepEqual(Object.keys(METRICS).filter(name => !text.includes(`'${name}'`)), [])
})

suite('man/icn-relay.1', () => {
  test('is what the table of commands says; otherwise run `npm run docs`', async () => {
    assert.equal(await readFile(MAN_PAGE, 'utf8'), manPage())
  })

  test('every line is text or a macro of man, and none is so long that roff would take it for something else', () => {
    const page = manPage()
    for (const line of page.split('\n')) assert.match(line, /^(?:\.(?:TH|SH|SS|TP|PP|nf|fi|br)(?: |$)|[^.'])|^$/, line)
    assert.equal(page.match(/^\.nf$/gm)?.length, page.match(/^\.fi$/gm)?.length)
    assert.doesNotMatch(page, /\\(?![efR&(-])(?!f[BIR])/)
  })

  test('man finds nothing wrong with it', t => {
    const { error, status, stderr, stdout } = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-Kutf8', '-P-cbu', fileURLToPath(MAN_PAGE)], { encoding: 'utf8', timeout: 20_000 })
    if (error !== undefined) return t.skip('groff is not installed')
    assert.deepEqual([status, stderr], [0, ''])
    for (const { name } of COMMANDS) assert.match(stdout, new RegExp(`icn-relay +${name} `), name)
  })
})

suite('docs/operations.md', () => {
  let text: string
  before(async () => { text = await readFile(FILE, 'utf8') })

  test('its tables are what the code says; otherwise run `npm run docs`', () => {
    assert.equal(text, withTables(text))
  })

  test('its tables name every key, metric and code', () => {
    for (const name of [...Object.keys(METRICS), ...Object.keys(ERRORS)]) assert.ok(text.includes(`| \`${name}\` |`), name)
    for (const { path } of configKeys()) assert.ok(text.includes(`| \`${path.at(-1) ?? ''}\` | \`${environmentName(...path)}\` |`), path.join('.'))
  })

  test('it names no key, variable, metric or code that does not exist', () => {
    const keys = new Set([...configKeys(), ...configTables()].map(({ path }) => path.join('.')))
    const variables = new Set(configKeys().map(({ path }) => environmentName(...path)))
    for (const variable of matches(text, /ICN_RELAY_[A-Z0-9_]+[A-Z0-9]/g)) assert.ok(variables.has(variable) || variable === 'ICN_RELAY_CONFIG', variable)
    for (const metric of matches(text, /icn_relay_[a-z_]+[a-z]/g)) assert.ok(metric in METRICS || metric.replace(/_(?:bucket|sum|count)$/, '') in METRICS, metric)
    for (const code of matches(text, /RELAY_ERR_[A-Z_]+[A-Z]/g)) assert.ok(code in ERRORS, code)
    const sections = Object.keys(ConfigSchema.properties).join('|')
    for (const path of matches(text, new RegExp(`\`((?:${sections})(?:\\.[a-z_0-9]+)+)(?: = [^\`]*)?\``, 'g'))) assert.ok(keys.has(path), path)
  })

  test('its examples of TOML pass the schema', () => {
    const blocks = [...text.matchAll(/```(\w+)\n([\s\S]*?)```/g)]
    assert.ok(blocks.some(([, language]) => language === 'toml'))
    for (const [, language, body = ''] of blocks) if (language === 'toml') checkConfig(parseToml(body))
  })

  test('its links within the page lead to headings', () => {
    const anchors = new Set([...text.matchAll(/^#+ (.*)$/gm)].map(match => (match[1] ?? '').toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-')))
    for (const anchor of matches(text, /\]\(#([^)]+)\)/g)) assert.ok(anchors.has(anchor), anchor)
  })
})

test('SECURITY.md fits on two screens, and its links lead to files and headings', async () => {
  const root = new URL('../../', import.meta.url)
  const text = await readFile(new URL('SECURITY.md', root), 'utf8')
  assert.ok(text.split('\n').length <= 120)
  const links = matches(text, /\]\(([^)]+)\)/g)
  assert.ok(links.size > 10)
  for (const link of links) {
    const [path = '', anchor] = link.split('#')
    // A folder has no text, and no headings either.
    const target = path.includes('.') ? await readFile(new URL(path, root), 'utf8') : (await readdir(new URL(path, root))).join('\n')
    const headings = [...target.matchAll(/^#+ (.*)$/gm)].map(match => (match[1] ?? '').toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-'))
    assert.ok(anchor === undefined || headings.includes(anchor), link)
  }
})
