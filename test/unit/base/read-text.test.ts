import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readText } from '../../../src/base/read-text.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

test('a file is read as far as it may go, and what would have to be waited for is none', async t => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'file')
  await writeFile(file, 'äbc')
  assert.deepEqual(await readText(file, 4), { text: 'äbc' })
  assert.deepEqual(await readText(file, 3), { problem: 'is larger than 3 bytes' })
  assert.deepEqual(await readText(join(directory, 'none'), 4), { problem: 'cannot be read: ENOENT' })
  assert.deepEqual(await readText(directory, 4), { problem: 'cannot be read: EISDIR' })
  assert.deepEqual(await readText('/dev/zero', 4), { problem: 'is not a file' })
  // Whoever opens a pipe that nobody writes to waits for ever.
  execFileSync('mkfifo', [join(directory, 'pipe')])
  assert.deepEqual(await readText(join(directory, 'pipe'), 4), { problem: 'is not a file' })
})
