import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import test from 'node:test'

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
