import assert from 'node:assert/strict'
import { appendFile, mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { RotatedFile } from '../../../src/base/rotated-file.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

test('the file is its owner\'s, keeps one before it, and ends a line that a crash has cut short', async t => {
  const path = join(await temporaryDirectory(t), 'audit-log.ndjson')
  const file = new RotatedFile(path, 100)
  assert.equal(await file.read(), '')
  await file.append('{"a":1}\n')
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  await appendFile(path, '{"torn":')
  await file.append('{"b":2}\n')
  assert.equal(await file.read(), '{"a":1}\n{"torn":\n{"b":2}\n')
  await file.append(`${'x'.repeat(100)}\n`)
  await file.append('{"c":3}\n')
  assert.equal(await file.read(), '{"c":3}\n')
  assert.match(await readFile(`${path}.1`, 'utf8'), /^\{"a":1\}\n[\s\S]*x\n$/)
  const taken = join(path, '..', 'directory')
  await mkdir(taken)
  await assert.rejects(new RotatedFile(taken, 100).append('x\n'), { code: 'EISDIR' })
})
