import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { connect } from '../../client/src/node.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { SERVER } from '../../tools/harness/processes.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

async function demo (args: readonly string[]): Promise<{ code: number | null, text: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'demo/main.ts', ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  const [code] = await once(child, 'close') as [number | null]
  return { code, text }
}

test('npm run demo -- --once: a table of manifest and 14 shards, first misses, then hits, every digest ok, exit code 0', { timeout: 240_000 }, async () => {
  const { code, text } = await demo(['--once', '--random-ports'])
  assert.equal(code, 0, text)
  const rows = text.split('\n').filter(line => /^ *(manifest|\d+) /.test(line))
  assert.equal(rows.length, 15)
  for (const row of rows) assert.match(row, /^ *(manifest|\d+) +miss +[\d.]+ +hit +[\d.]+ +[\d,]+ +ok$/)
  assert.match(text, /as the manifest says/)
})

test('the demo says no with an honest exit code when its relay cannot start', { timeout: 240_000 }, async () => {
  const { code, text } = await demo(['--once', '--random-ports', '--relay', 'tools/harness/ci.ts'])
  assert.equal(code, 1)
  assert.match(text, /relay/)
})

interface RunningDemo {
  /** All output so far, once it matches. */
  readonly says: (pattern: RegExp) => Promise<string>
  readonly type: (line: string) => void
  readonly end: () => Promise<void>
}

/** The demo as a newcomer has it, in a terminal, but for a relay that is built where there is one: it is started four times. */
function openDemo (t: TestContext): RunningDemo {
  const child = spawn(process.execPath, ['--import', 'tsx', 'demo/main.ts', '--random-ports', '--relay', SERVER], { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = once(child, 'close')
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      child.emit('said')
    })
  }
  const end = async (): Promise<void> => {
    child.kill('SIGINT')
    await ended
  }
  t.after(end)
  return {
    says: async pattern => {
      while (!pattern.test(text)) {
        if (child.exitCode !== null) throw new Error(`the demo has ended; it said ${text}`)
        await Promise.race([once(child, 'said'), ended])
      }
      return text
    },
    type: line => { child.stdin.write(`${line}\n`) },
    end
  }
}

/** Runs lines in a shell, as a newcomer pastes them. */
async function paste (lines: string): Promise<string> {
  const { stdout } = await promisify(execFile)('bash', ['-ec', lines])
  return stdout
}

/** The shell commands of README.md's tour, for the ports of this demo: to fetch, to operate. */
async function tourBlocks (player: string, admin: string): Promise<string[]> {
  const [, tour = ''] = /\n## Five minutes\n([^]*?)\n## /.exec(await readFile(`${ROOT}README.md`, 'utf8')) ?? []
  return [...tour.matchAll(/```sh\n([^]*?)```/g)].map(([, block = '']) => block.replaceAll('http://localhost:9003', player).replaceAll('http://localhost:9103', admin))
}

/** The whole clip, every digest checked, by a client that has it from nowhere but the relay: how many of its shards were hits. */
async function load (relay: string, cid: string): Promise<number> {
  const client = await connect(relay)
  let hits = 0
  try {
    const { verified, repaired } = await client.fetchVideo(cid, { onShard: ({ result }) => { hits += result?.cache === 'hit' ? 1 : 0 } })
    assert.deepEqual([verified, repaired], [true, []])
  } finally {
    client.close()
  }
  return hits
}

test('the tour, command by command: README.md and what the demo prints do what they say; r and s too', { timeout: 240_000 }, async t => {
  const demo = openDemo(t)
  const text = await demo.says(/Ctrl-C stops everything/)
  const [, player = '', cid = ''] = /(http:\S+)\/player\/\?cid=(\S+)/.exec(text) ?? []
  const [, admin = ''] = /(http:\S+)\/metrics/.exec(text) ?? []
  const [fetching = '', operating = ''] = await tourBlocks(player, admin)
  assert.match(await paste(fetching), new RegExp(`^\\{.*"cid":"${cid}".*\\n[0-9a-f]{64} +-\\nHTTP/1\\.1 206 [^]*\\ncache-status: icn-relay; hit`))

  // A body ends before its store does; whoever reads the tour is slower than that.
  const stored = async (): Promise<void> => { await until(async () => await metric(admin, 'icn_relay_cache_entries', '{tier="disk"}'), entries => entries === 11) }
  const breaks = [...text.matchAll(/^ +((?:kill|curl -s -X) .+)$/gm)].map(([, command = '']) => command)
  const [corrupt = '', purge = '', nodes = '', relay = ''] = breaks
  assert.deepEqual([breaks.length, nodes.split(' ').length, relay.split(' ').length], [4, 4, 2], text)
  assert.match(await paste(`${corrupt}\n${purge}`), /^\{"faults":\{"corrupt":true\}\}\n\{"purged":15\}\n$/)
  assert.equal(await load(player, cid), 0)
  await stored()
  const [, refused = ''] = /^ +(curl .+ \| grep corrupt)$/m.exec(text) ?? []
  assert.match(await paste(refused), /^icn_relay_upstream_fetches_total\{node="127\.0\.0\.1:\d+",outcome="corrupt"\} [1-9]\d*\n$/)
  await paste(nodes)
  await demo.says(/(?:super-node \S+ exited[^]*){3}/)
  assert.equal(await load(player, cid), 10)
  // What was stored within the last second is lost with a relay that is killed.
  await until(async () => await metric(admin, 'icn_relay_cache_index_pending'), pending => pending === 0)
  await paste(relay.replace('kill', 'kill -9'))
  await demo.says(/back, with PID/)
  assert.equal(await load(player, cid), 10)
  demo.type('s')
  await demo.says(/Started: super-node NA-WEST \d+, super-node EU-WEST \d+, super-node APAC \d+/)
  demo.type('r')
  await demo.says(/back, with PID[^]*back, with PID/)
  assert.equal(await load(player, cid), 10)

  const lines = (await paste(`CID=${cid}\n${operating}`)).trimEnd().split('\n')
  assert.ok(lines.length < 50, `${lines.length} lines`)
  for (const line of lines) if (!/^icn_relay_cache_\S+ [\d.e+]+$/.test(line)) JSON.parse(line)
  assert.deepEqual(JSON.parse(lines.at(-1) ?? ''), { purged: 11 })
  assert.equal(await load(player, cid), 0)
  await stored()
  assert.equal(await load(player, cid), 10)
})
