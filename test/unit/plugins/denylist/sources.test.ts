import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { MAX_OWN_ENTRIES, OwnEntries, loadOwnEntries, ownEntriesText } from '../../../../src/plugins/denylist/own-entries.ts'
import { PulledList } from '../../../../src/plugins/denylist/pulled-list.ts'
import type { ParsedList } from '../../../../src/plugins/denylist/list-text.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const NOW = 1_700_000_000_000

interface Lab {
  readonly list: PulledList
  readonly lists: ParsedList[]
  readonly failures: string[]
  /** Pauses that were asked for, ms. */
  readonly pauses: number[]
  readonly seen: IncomingMessage[]
  answer: (request: IncomingMessage, response: ServerResponse) => void
  readonly file: string
}

async function lab (t: TestContext, file?: string, url?: string): Promise<Lab> {
  const kept = file ?? join(await temporaryDirectory(t), 'list.txt')
  const seen: IncomingMessage[] = []
  const state = { answer: (_request: IncomingMessage, response: ServerResponse): void => { response.end() } }
  const server = createServer((request, response) => {
    seen.push(request)
    state.answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const [lists, failures, pauses]: [ParsedList[], string[], number[]] = [[], [], []]
  const list = new PulledList({
    url: url ?? `http://127.0.0.1:${(server.address() as AddressInfo).port}/list`,
    intervalMs: 60_000,
    maxBytes: 1_000,
    file: kept,
    timers: { after: ms => { pauses.push(ms); return () => {} }, now: () => 0 },
    now: () => NOW,
    pulled: parsed => { lists.push(parsed) },
    failed: reason => { failures.push(reason) }
  })
  t.after(async () => { await list.close() })
  return Object.assign(state, { list, lists, failures, pauses, seen, file: kept })
}

test('a list is taken, kept and asked for by its ETag; what cannot be taken leaves the one of before', async t => {
  const one = await lab(t)
  await one.list.load()
  one.answer = (_request, response) => { response.setHeader('etag', '"1"').end('QmA\nQmB\n') }
  await one.list.pull()
  assert.deepEqual([one.lists.length, one.lists[0]?.set.size, one.list.checkedAt, one.list.problem], [1, 2, NOW, null])
  assert.equal(await readFile(one.file, 'utf8'), 'QmA\nQmB\n')
  one.answer = (request, response) => { response.writeHead(request.headers['if-none-match'] === '"1"' ? 304 : 500).end() }
  await one.list.pull()
  assert.deepEqual([one.lists.length, one.list.problem], [1, null])
  const answers: [answer: (response: ServerResponse) => void, reason: RegExp][] = [
    [response => { response.writeHead(503).end() }, /^it answers 503$/],
    [response => { response.end(`${'x'.repeat(90)}\n`.repeat(20)) }, /^it is larger than denylist\.max_bytes, 1000 bytes$/],
    [response => { response.end('<html>\n<body>\n') }, /^it is no denylist/],
    [response => { response.writeHead(200, { 'content-length': 100 }).write('QmC\n'); response.destroy() }, /UND_ERR_SOCKET|ECONNRESET|UND_ERR_ABORTED|terminated/]
  ]
  for (const [answer, reason] of answers) {
    one.answer = (_request, response) => { answer(response) }
    await one.list.pull()
    assert.match(one.list.problem ?? '', reason)
  }
  assert.equal(one.lists.length, 1)
  assert.equal(one.failures.length, answers.length)
  assert.equal(await readFile(one.file, 'utf8'), 'QmA\nQmB\n')
  // In the pace of its interval, and after failures sooner at first.
  assert.deepEqual(one.pauses, [60_000, 60_000, 10_000, 20_000, 40_000, 60_000])

  const again = await lab(t, one.file, `http://127.0.0.1:${one.seen[0]?.socket.localPort}/list`)
  await again.list.load()
  assert.deepEqual([again.lists[0]?.set.size, again.list.checkedAt], [2, NOW])
  one.answer = (request, response) => { response.writeHead(request.headers['if-none-match'] === '"1"' ? 304 : 500).end() }
  await again.list.pull()
  assert.equal(again.list.problem, null)
})

test('a copy of another URL, or one that was changed, does not pass for what the server said', async t => {
  const one = await lab(t)
  one.answer = (_request, response) => { response.setHeader('etag', '"1"').end('QmA\n') }
  await one.list.pull()
  const other = await lab(t, one.file, 'http://127.0.0.1:9/other')
  await other.list.load()
  assert.deepEqual([other.lists.length, other.list.checkedAt], [0, null])
  await writeFile(one.file, 'QmA\nQmB\n')
  const same = await lab(t, one.file, `http://127.0.0.1:${one.seen[0]?.socket.localPort}/list`)
  await same.list.load()
  assert.equal(same.lists[0]?.set.size, 2)
  await same.list.pull()
  assert.equal(one.seen.at(-1)?.headers['if-none-match'], undefined)
  await writeFile(`${one.file}.json`, 'not JSON')
  const broken = await lab(t, one.file)
  await broken.list.load()
  assert.match(broken.failures[0] ?? '', /cannot be used/)
})

test('own entries are kept before they hold, all of a request or none, and bounded', async t => {
  const file = join(await temporaryDirectory(t), 'denied.json')
  assert.deepEqual(await loadOwnEntries(file), [])
  const own = new OwnEntries([], async text => { await writeFile(file, text) })
  assert.equal(await own.add(['QmA', 'tv-*'], 'court order', NOW), 2)
  assert.equal(await own.add(['QmA', 'QmB'], '', NOW + 1), 1)
  await assert.rejects(own.add(['QmC', 'not an entry'], '', NOW), { code: 'RELAY_ERR_BAD_REQUEST' })
  await assert.rejects(own.add(Array.from({ length: MAX_OWN_ENTRIES }, (_, n) => `Qm${n}`), '', NOW), { code: 'RELAY_ERR_BAD_REQUEST', message: /at most 10000 entries/ })
  assert.equal(own.size, 3)
  assert.deepEqual(await loadOwnEntries(file), [{ entry: 'QmA', reason: 'court order', since: NOW }, { entry: 'tv-*', reason: 'court order', since: NOW }, { entry: 'QmB', reason: '', since: NOW + 1 }])
  assert.equal(await own.remove('QmA'), true)
  assert.equal(await own.remove('QmA'), false)
  assert.deepEqual(own.list().map(({ entry }) => entry), ['QmB', 'tv-*'])
  const full = new OwnEntries(own.list(), async () => { throw new Error('the disk is full') })
  await assert.rejects(full.add(['QmD'], '', NOW), /the disk is full/)
  assert.equal(full.size, 2)
})

test('a relay that cannot know what it must not serve does not start', async t => {
  const file = join(await temporaryDirectory(t), 'denied.json')
  const entry = { entry: 'QmA', reason: '', since: 1 }
  const cases: [text: string, why: RegExp][] = [
    ['{', /it is not JSON/],
    [ownEntriesText([]).replace('"version":1', '"version":2'), /\/version/],
    [JSON.stringify({ version: 1, entries: [{ ...entry, entry: 'no entry' }] }), /"no entry" is no entry/],
    [JSON.stringify({ version: 1, entries: [{ ...entry, more: 1 }] }), /\/entries\/0/]
  ]
  for (const [text, why] of cases) {
    await writeFile(file, text)
    await assert.rejects(loadOwnEntries(file), { code: 'RELAY_ERR_CONFIG', message: why })
  }
  await writeFile(file, ownEntriesText([entry]))
  assert.deepEqual(await loadOwnEntries(file), [entry])
})
