import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { RotatedFile } from '../../../../src/base/rotated-file.ts'
import { AuditLog, detail, MAX_DETAIL, MAX_RECORDS, MAX_WAITING, parseRecords, type AuditRecord } from '../../../../src/plugins/audit/audit-log.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

function record (at: number, action = 'purgeCache', by: string | null = 'ci'): AuditRecord {
  return { at, by, address: '127.0.0.1', id: `id-${at}`, action, target: '/admin/v1/cache/purge', status: 200, asked: { all: true } }
}

function open (append: (lines: string) => Promise<void> = async () => {}, records: readonly AuditRecord[] = []) {
  const failed: (AuditRecord | undefined)[] = []
  const audit = new AuditLog({ records, append, added: () => {}, failed: (_error, lost) => { failed.push(lost) } })
  return { audit, failed }
}

const ats = (records: readonly AuditRecord[]): number[] => records.map(({ at }) => at)

test('the latest come first, by action, name and time', () => {
  const { audit } = open(undefined, [record(1), record(2, 'drainViewers')])
  audit.add(record(3, 'purgeCache', 'ops'))
  assert.deepEqual(ats(audit.latest({ limit: 10 })), [3, 2, 1])
  assert.deepEqual(ats(audit.latest({ limit: 10, action: 'purgeCache' })), [3, 1])
  assert.deepEqual(ats(audit.latest({ limit: 10, by: 'ci' })), [2, 1])
  assert.deepEqual(ats(audit.latest({ limit: 1, before: 3 })), [2])
})

test('what is remembered, and what waits for a disk that hangs, is bounded; what is not written is told', async () => {
  const gate = deferred<undefined>()
  const written: string[] = []
  const { audit, failed } = open(async lines => {
    await gate.promise
    written.push(lines)
  })
  audit.add(record(0))
  // The first is under way, the others wait.
  await new Promise(resolve => { setImmediate(resolve) })
  for (let at = 1; at <= MAX_WAITING + 5; at++) audit.add(record(at))
  assert.equal(audit.waiting, MAX_WAITING)
  assert.equal(audit.latest({ limit: 10_000 }).length, MAX_RECORDS)
  assert.equal(failed.length, 5)
  gate.resolve(undefined)
  await audit.flush()
  assert.deepEqual([audit.waiting, written.length, parseRecords(written.join('')).length], [0, 2, MAX_RECORDS])
})

test('a disk that refuses costs the file and not the record', async () => {
  const { audit, failed } = open(async () => { throw new Error('ENOSPC') })
  audit.add(record(7))
  await audit.flush()
  assert.deepEqual([ats(audit.latest({ limit: 1 })), failed.length], [[7], 1])
})

test('records are read again whatever else stands in the file', () => {
  const line = fc.oneof(fc.integer({ min: 0, max: 1e12 }).map(at => JSON.stringify(record(at))), fc.string(), fc.json(), fc.constant('{"at":1}'), fc.constant('null'))
  fc.assert(fc.property(fc.array(line, { maxLength: 20 }), lines => {
    const flat = lines.map(text => text.replaceAll('\n', ' '))
    const own = flat.filter(text => text.startsWith('{"at":') && text.includes('"purgeCache"'))
    assert.deepEqual(parseRecords(flat.join('\n')).map(each => JSON.stringify(each)), own)
  }), { numRuns: 50 })
})

test('large bodies are left out', () => {
  assert.deepEqual(detail({ all: true }), { all: true })
  assert.deepEqual([detail('x'.repeat(MAX_DETAIL)), detail(undefined)], [undefined, undefined])
})

test('of a file that is large, the end is read, from a whole line on', async t => {
  const path = join(await temporaryDirectory(t), 'audit-log.ndjson')
  const lines = Array.from({ length: 60_000 }, (_, at) => `${JSON.stringify(record(at))}\n`)
  await writeFile(path, lines.join(''))
  assert.deepEqual(ats(parseRecords(await new RotatedFile(path, 1e9).read())), Array.from({ length: MAX_RECORDS }, (_, n) => 60_000 - MAX_RECORDS + n))
})
