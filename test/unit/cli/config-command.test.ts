import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { parseCommandLine } from '../../../src/cli/arguments.ts'
import { TABLE } from '../../../src/cli/command-table.ts'
import { drainViewers } from '../../../src/cli/commands/drain.ts'
import { configOf, startLayers } from '../../../src/config/config.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

/** Runs a command line that asks no relay. */
async function run (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number, text: string }> {
  let text = ''
  const { flags, run } = parseCommandLine(args)
  const layers = (): ReturnType<typeof startLayers> => startLayers(flags, env)
  const code = await run({
    flags,
    table: TABLE,
    layers,
    settings: () => configOf(layers()),
    input: process.stdin,
    write: async more => { text += more },
    terminal: false,
    size: () => ({ columns: 80, rows: 24 }),
    now: () => 0
  })
  return { code, text }
}

async function fileWith (t: TestContext, text: string): Promise<string> {
  const file = join(await temporaryDirectory(t), 'relay.toml')
  await writeFile(file, text)
  return file
}

suite('config', () => {
  test('every setting with its source, secrets hidden', async t => {
    const file = await fileWith(t, '[limits]\ntracked_ips = 5\n[admin]\ntokens = [{ token = "hunter2-hunter2-hunter2", scope = "write" }]\n')
    const { code, text } = await run(['config', '--changed', '--config', file, '--region', 'APAC'], { ICN_RELAY_CACHE_PATH: '/x' })
    assert.equal(code, 0)
    assert.deepEqual(text.trim().split('\n').sort(), ['environment  cache.path = "/x"', 'file         admin.tokens = [{"token":"(secret)","scope":"write"}]', 'file         limits.tracked_ips = 5', 'flag         region.override = "APAC"'])
    const { text: all } = await run(['config', '--json'])
    const settings = JSON.parse(all) as Record<string, { value: unknown, source: string }>
    assert.deepEqual(settings['viewer.port'], { value: 9003, source: 'default' })
  })

  test('a file is checked without the environment and without what it names', async t => {
    const good = await fileWith(t, '[tls]\ncert = "/nowhere.pem"\nkey = "/nowhere.key"\n[cache]\nram_bytes = "1TB"\nmax_bytes = "2TB"\n')
    assert.deepEqual(await run(['config', 'check', good], { ICN_RELAY_NONSENSE: '1' }), { code: 0, text: `${good} is valid\n` })
    const bad = await fileWith(t, '[viewer]\nprot = 1\n[admin]\nport = 9003\nhost = "0.0.0.0"\n')
    assert.deepEqual(await run(['config', 'check', bad]), { code: 1, text: 'unknown key viewer.prot; did you mean port?\n' })
    const worse = await fileWith(t, '[admin]\nport = 9003\n')
    assert.deepEqual(JSON.parse((await run(['config', 'check', worse, '--json'])).text), { valid: false, problems: ['viewer.port and admin.port must differ, both are 9003'] })
    assert.match((await run(['config', 'check', '/nowhere.toml'])).text, /^\/nowhere\.toml cannot be read: ENOENT\n$/)
  })
})

test('drain waits until nobody is left, and not for ever', async () => {
  const asked: unknown[] = []
  let now = 0
  const left = [3, 1, 0]
  const deps = { ask: async (path: string, body?: Record<string, unknown>) => { asked.push([path, body]); return { draining: true } }, read: async () => ({ status: 200, text: JSON.stringify({ viewer_connections: left.shift() ?? 2 }) }), pause: async () => { now += 500 }, now: () => now }
  const request = { alternates: ['https://relay-2:9003'], deadlineMs: 10_000, wait: true }
  assert.equal(await drainViewers(deps, request), 0)
  assert.equal(await drainViewers(deps, request), 2)
  assert.equal(now, 1_000 + 15_000)
  assert.equal(await drainViewers(deps, { ...request, wait: false }), undefined)
  assert.deepEqual(asked[0], ['/drain', { deadlineMs: 10_000, alternates: ['https://relay-2:9003'] }])
})
