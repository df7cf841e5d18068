import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import test, { type TestContext } from 'node:test'
import { metric, until } from '../support/http.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

async function demo (args: readonly string[]): Promise<{ code: number | null, text: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'demo/main.ts', ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => { text += chunk })
  const [code] = await once(child, 'close') as [number | null]
  return { code, text }
}

test('npm run demo -- --once: a table of manifest and 14 shards, first misses, then hits, every digest ok, exit code 0', { timeout: 60_000 }, async () => {
  const { code, text } = await demo(['--once', '--random-ports'])
  assert.equal(code, 0, text)
  const rows = text.split('\n').filter(line => /^ *(manifest|\d+) /.test(line))
  assert.equal(rows.length, 15)
  for (const row of rows) assert.match(row, /^ *(manifest|\d+) +miss +[\d.]+ +hit +[\d.]+ +[\d,]+ +ok$/)
  assert.match(text, /as the manifest says/)
})

test('the demo says no with an honest exit code when its relay cannot start', { timeout: 60_000 }, async () => {
  const { code, text } = await demo(['--once', '--random-ports', '--relay', 'test/support/ci.ts'])
  assert.equal(code, 1)
  assert.match(text, /relay/)
})

interface RunningDemo {
  /** All output so far, once it matches. */
  readonly says: (pattern: RegExp) => Promise<string>
  readonly type: (line: string) => void
  readonly end: () => Promise<void>
}

/** The demo as a newcomer has it, in a terminal. */
function openDemo (t: TestContext): RunningDemo {
  const child = spawn(process.execPath, ['--import', 'tsx', 'demo/main.ts', '--random-ports'], { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] })
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

test('the tour: what it prints kills super-nodes and relay; the relay is back on the same cache; r and s do what they say', { timeout: 240_000 }, async t => {
  const demo = openDemo(t)
  const text = await demo.says(/Ctrl-C stops everything/)
  const [, nodes = '', relay = ''] = /kill ([\d ]+\d) +the super-nodes[^]*kill (\d+) +the relay/.exec(text) ?? []
  const [, player = '', cid = ''] = /(http:\S+\/player\/)\?cid=(\S+)/.exec(text) ?? []
  const [, admin = ''] = /(http:\S+)\/metrics/.exec(text) ?? []
  assert.equal(nodes.split(' ').length, 3, text)
  for (const pid of nodes.split(' ')) process.kill(Number(pid), 'SIGTERM')
  await demo.says(/(?:super-node \S+ exited[^]*){3}/)
  const cached = async (): Promise<string[]> => await Promise.all(['manifest.json', 'shard_0.bin', 'shard_13.bin'].map(async part => {
    const response = await fetch(new URL(`/shards/${cid}/${part}`, player))
    await response.arrayBuffer()
    return response.headers.get('cache-status') ?? String(response.status)
  }))
  const hits = Array.from({ length: 3 }, () => 'icn-relay; hit')
  // What was stored within the last second is lost with a relay that is killed; whoever reads the tour is slower.
  await until(async () => await metric(admin, 'icn_relay_cache_index_pending'), pending => pending === 0)
  process.kill(Number(relay), 'SIGKILL')
  await demo.says(/back, with PID/)
  assert.deepEqual(await cached(), hits)
  demo.type('s')
  await demo.says(/Started: super-node NA-WEST \d+, super-node EU-WEST \d+, super-node APAC \d+/)
  demo.type('r')
  await demo.says(/back, with PID[^]*back, with PID/)
  assert.deepEqual(await cached(), hits)
  assert.equal((await fetch(`${admin}/admin/v1/cache/shards/${cid}`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })).status, 200)
  assert.match((await cached())[0] ?? '', /fwd=uri-miss/)
})
