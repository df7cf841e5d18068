/** What README.md tells a newcomer to type must exist, and say what the demo says. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { before, suite, test } from 'node:test'
import { parse as parseToml } from 'smol-toml'
import { parse as parseYaml } from 'yaml'
import { DEFAULT_PORTS } from '../../demo/ports.ts'
import { mediaCid } from '../../demo/super-node/manifest.ts'
import { checkConfig } from '../../src/config/config.ts'

const ROOT = new URL('../../', import.meta.url)
const read = async (path: string): Promise<string> => await readFile(new URL(path, ROOT), 'utf8')
const found = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(match => match[1] ?? '')

suite('README.md', () => {
  let text: string
  before(async () => { text = await read('README.md') })

  test('every npm script that it or the demo names exists', async () => {
    const { scripts } = JSON.parse(await read('package.json')) as { scripts: Record<string, string> }
    const all = `${text}\n${await read('demo/README.md')}\n${await read('docs/load-tests.md')}`
    const named = new Set(found(all, /npm (?:run )?((?!ci\b|run\b)[a-z][a-z:-]*)/g).filter(name => /^(?:start|test)$/.test(name) || all.includes(`npm run ${name}`)))
    assert.ok(named.size >= 8, [...named].join(' '))
    assert.deepEqual([...named].filter(name => scripts[name] === undefined), [])
  })

  test('every file and folder that it names exists', () => {
    const named = [...found(text, /\]\(([\w./-]+)\)/g), ...found(text, /`((?:src|docs|demo|compare|autocannon)\/[\w./-]*)`/g)]
    assert.ok(named.length > 20)
    assert.deepEqual(named.filter(path => !existsSync(new URL(path, ROOT))), [])
  })

  test('its CID is that of the clip, its ports are those of the demo', async () => {
    const clip = await readFile(new URL('demo/media/clip.webm', ROOT))
    assert.deepEqual(found(text, /^ *CID=(\S+)$/gm), [mediaCid(createHash('sha256').update(clip).digest())])
    const used = new Set(found(text, /localhost:(\d+)/g).map(Number))
    assert.deepEqual([...used].sort(), [DEFAULT_PORTS.viewer, DEFAULT_PORTS.admin])
    for (const port of DEFAULT_PORTS.superNodes) assert.ok(text.includes(String(port)))
  })

  test('every URL that it fetches is in openapi.yaml, on the listener of that port', async () => {
    const { paths } = parseYaml(await read('openapi.yaml')) as { paths: Record<string, Record<string, { tags: string[] }>> }
    const known = Object.keys(paths).map(path => new RegExp(`^${path.replace(/\{n\}/g, '\\d+').replace(/\{\w+\}/g, '[^/]+').replaceAll('.', '\\.')}$`))
    const fetched = found(text, /curl [^\n]*?http:\/\/localhost:\d+(\/[^\s'|?]*)/g)
    assert.ok(fetched.length >= 8)
    assert.deepEqual(fetched.filter(path => !known.some(pattern => pattern.test(path))), [])
  })

  test('its configuration is valid', () => {
    for (const body of found(text, /```toml\n([\s\S]*?)```/g)) checkConfig(parseToml(body))
  })

  test('it and what the demo shows use the terms of the field: no roads and no doors', async () => {
    const shown = ['README.md', 'demo/README.md', 'docs/operations.md', 'docs/load-tests.md', 'openapi.yaml', 'demo/main.ts', 'demo/player/index.html', 'demo/player/player.js', 'demo/player/offer.js', 'demo/player/shard-table.js', 'demo/player/connection-card.js', 'demo/player/relay-connection.js']
    for (const path of shown) assert.doesNotMatch(await read(path), /\b(?:roads?|doors?)\b/i, path)
  })
})
