import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import { replaceFile } from '../../../../src/base/replace-file.ts'
import { lastGood, loadChanges, NodeChanges, saveChanges } from '../../../../src/plugins/upstream/node-changes.ts'

const warn = (message: string): void => { assert.fail(message) }
const at = (port: number): { url: string, region: string } => ({ url: `http://127.0.0.1:${port}`, region: 'APAC' })

test('what operators add, remove and drain is applied to what the sources name, and outlives the process', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'icn-relay-test-'))
  t.after(async () => { await rm(directory, { recursive: true }) })
  const file = join(directory, 'upstreams.json')
  const changes = await loadChanges(file, warn)
  changes.remove(at(1).url)
  changes.add(at(3))
  changes.setState(at(2).url, 'draining')
  await saveChanges(file, changes)
  const kept = await loadChanges(file, warn)
  assert.deepEqual(kept.apply([at(1), at(2)]), [at(2), at(3)])
  assert.deepEqual([kept.state(at(2).url), kept.state(at(3).url)], ['draining', 'enabled'])
  assert.deepEqual((await readdir(directory)).toSorted(), ['upstreams.json', 'upstreams.json.last-good'])
  kept.add(at(1))
  kept.setState(at(2).url, 'enabled')
  assert.deepEqual(kept.apply([at(1), at(2)]), [at(1), at(2), at(3)])
  assert.equal(kept.state(at(2).url), 'enabled')
})

test('a damaged file is an error that names it; nothing of it is taken', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'icn-relay-test-'))
  t.after(async () => { await rm(directory, { recursive: true }) })
  const file = join(directory, 'upstreams.json')
  for (const text of ['', '{', 'null', '{"version":2}', '{"version":1,"added":[{"url":"ftp://x","region":"A"}],"removed":[],"states":{}}', '{"version":1,"added":[],"removed":[],"states":{"a":"gone"}}']) {
    await writeFile(file, text)
    await assert.rejects(loadChanges(file, warn), (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_CONFIG' && error.message.includes(file), text)
  }
  assert.equal(await readFile(file, 'utf8'), '{"version":1,"added":[],"removed":[],"states":{"a":"gone"}}')
})

test('a file that is half written: the last good one beside it is used, and that is told; the copy follows a good file', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'icn-relay-test-'))
  t.after(async () => { await rm(directory, { recursive: true }) })
  const file = join(directory, 'upstreams.json')
  const changes = new NodeChanges()
  changes.add(at(3))
  // As an older release left it, without a copy.
  await replaceFile(file, changes.toText())
  await loadChanges(file, warn)
  assert.equal(await readFile(lastGood(file), 'utf8'), changes.toText())
  const told: string[] = []
  for (const half of ['', '{', changes.toText().slice(0, -10)]) {
    await writeFile(file, half)
    const kept = await loadChanges(file, (message, fields) => { told.push(`${message} ${String(fields['file'])}`) })
    assert.equal(kept.toText(), changes.toText())
  }
  assert.deepEqual(told, Array(3).fill(`the list of super-nodes is damaged, the last good one is used ${file}`))
  for (const damaged of [file, lastGood(file)]) await writeFile(damaged, '{')
  await assert.rejects(loadChanges(file, warn), { code: 'RELAY_ERR_CONFIG' })
  await saveChanges(file, changes)
  assert.equal((await loadChanges(file, warn)).toText(), changes.toText())
})

test('any changes: at most 64 nodes, each once, and the text says the same again', () => {
  const port = fc.integer({ min: 1, max: 200 })
  fc.assert(fc.property(fc.array(port, { maxLength: 64 }), fc.array(fc.tuple(fc.constantFrom('add', 'remove', 'drain', 'enable'), port), { maxLength: 300 }), (named, steps) => {
    const changes = new NodeChanges()
    for (const [step, number] of steps) {
      try {
        if (step === 'add') changes.add(at(number))
        else if (step === 'remove') changes.remove(at(number).url)
        else changes.setState(at(number).url, step === 'drain' ? 'draining' : 'enabled')
      } catch (error) {
        assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_BAD_REQUEST')
      }
    }
    const nodes = changes.apply(named.map(at))
    assert.ok(nodes.length <= 64)
    assert.equal(new Set(nodes.map(({ url }) => url)).size, nodes.length)
    assert.deepEqual(NodeChanges.parse(changes.toText(), 'x').apply(named.map(at)), nodes)
  }))
})
