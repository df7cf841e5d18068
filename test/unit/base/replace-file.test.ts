import assert from 'node:assert/strict'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { replaceFile } from '../../../src/base/replace-file.ts'
import { syncDirectory } from '../../../src/base/sync-directory.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

test('a file is replaced as a whole, for its owner only, and nothing else is left', async t => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'state.json')
  for (const text of ['one', 'another']) {
    await replaceFile(file, text)
    assert.equal(await readFile(file, 'utf8'), text)
  }
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(directory), ['state.json'])
  await assert.rejects(replaceFile(join(directory, 'none', 'state.json'), 'x'), { code: 'ENOENT' })
})

test('names of a directory that is not there cannot be synced', { skip: process.platform === 'win32' }, async t => {
  const directory = await temporaryDirectory(t)
  await syncDirectory(directory)
  await assert.rejects(syncDirectory(join(directory, 'none')), { code: 'ENOENT' })
})
