import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readdir, stat, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { lockDirectory, type DirectoryLock } from '../../../../src/plugins/shard-cache/directory-lock.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { bytesOf, openTestCache } from '../../../support/cache.ts'

const IN_USE = { code: 'RELAY_ERR_CACHE_PATH', message: /is in use by another relay process/ }
const HOLDER = `import { lockDirectory } from ${JSON.stringify(new URL('../../../../src/plugins/shard-cache/directory-lock.ts', import.meta.url).href)}
await lockDirectory(process.argv[1])
console.log('held')
setInterval(() => {}, 1000)`

suite('the lock of a directory', () => {
  test('one holds it, whoever asks again is refused, and it is free again when it is given back', async t => {
    const path = await temporaryDirectory(t)
    const lock = await lockDirectory(path)
    await assert.rejects(lockDirectory(path), IN_USE)
    assert.deepEqual(await readdir(path), ['lock'])
    assert.equal((await stat(join(path, 'lock'))).mode & 0o777, 0o600)
    lock.close()
    assert.deepEqual(await readdir(path), [])
    ;(await lockDirectory(path)).close()
  })

  test('a holder that was killed holds nothing, and of many who come then one gets it', async t => {
    const path = await temporaryDirectory(t)
    const holder = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', HOLDER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    await assert.rejects(lockDirectory(path), IN_USE)
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, async () => await lockDirectory(path)))
    const locks = outcomes.flatMap(outcome => outcome.status === 'fulfilled' ? [outcome.value] : [])
    assert.equal(locks.length, 1)
    assert.deepEqual(await readdir(path), ['lock'])
    locks[0]?.close()
  })

  test('a name of any length will do, and so will another name of the same directory', async t => {
    const path = join(await temporaryDirectory(t), 'a'.repeat(100), 'b'.repeat(100))
    await mkdir(path, { recursive: true })
    const lock: DirectoryLock = await lockDirectory(path)
    const link = join(await temporaryDirectory(t), 'link')
    await symlink(path, link)
    await assert.rejects(lockDirectory(link), IN_USE)
    lock.close()
  })

  test('one that was deleted is taken again, unless somebody else has it by then', async t => {
    const path = await temporaryDirectory(t)
    const lock = await lockDirectory(path)
    const { ino } = lock
    await unlink(join(path, 'lock'))
    assert.equal(await lock.renew(), true)
    assert.notEqual(lock.ino, ino)
    assert.equal((await stat(join(path, 'lock'))).ino, lock.ino)
    await assert.rejects(lockDirectory(path), IN_USE)
    await unlink(join(path, 'lock'))
    const other = await lockDirectory(path)
    assert.equal(await lock.renew(), false)
    lock.close()
    await assert.rejects(lockDirectory(path), IN_USE, 'the lock of another one stays')
    other.close()
    assert.deepEqual(await readdir(path), [])
  })

  test('what is not a socket is not a lock, and a takeover that was killed half-way is not in the way for ever', async t => {
    const path = await temporaryDirectory(t)
    await writeFile(join(path, 'lock'), '')
    await mkdir(join(path, 'lock.taking'))
    await utimes(join(path, 'lock.taking'), 1, 1)
    ;(await lockDirectory(path)).close()
    assert.deepEqual(await readdir(path), [])
  })
})

suite('whose the files of a cache are', () => {
  test('files and directories are for their owner alone, also where a directory was there before', async t => {
    const path = await temporaryDirectory(t)
    await mkdir(join(path, 'shards'))
    for (const directory of [path, join(path, 'shards')]) await chmod(directory, 0o755)
    const { cache } = await openTestCache(t, path)
    assert.ok(await storeBytes(cache, { cid: 'a', part: 0 }, bytesOf('a', 1_000)))
    await cache.flush()
    const names = ['.', ...await readdir(path, { recursive: true })]
    assert.ok(names.length >= 8, names.join())
    for (const name of names) {
      const found = await stat(join(path, name))
      assert.equal(found.mode & 0o777, found.isDirectory() ? 0o700 : 0o600, name)
    }
  })

  test('a link below shards/ is not followed: what it leads to is left alone', async t => {
    const path = await temporaryDirectory(t)
    const elsewhere = await temporaryDirectory(t)
    await mkdir(join(elsewhere, 'cd'))
    await writeFile(join(elsewhere, 'cd', 'precious'), 'x')
    await writeFile(join(elsewhere, 'file'), 'x')
    await mkdir(join(path, 'shards', 'aa', 'bb'), { recursive: true })
    await symlink(elsewhere, join(path, 'shards', 'ab'))
    await symlink(join(elsewhere, 'cd'), join(path, 'shards', 'aa', 'cc'))
    await symlink(join(elsewhere, 'file'), join(path, 'shards', 'aa', 'bb', 'link'))
    const { cache } = await openTestCache(t, path)
    const report = await cache.reconciled
    assert.equal(report.errors, 2)
    assert.deepEqual((await readdir(elsewhere, { recursive: true })).toSorted(), ['cd', 'cd/precious', 'file'])
  })

  test('a tmp that is a link is refused: it is emptied at every start', async t => {
    const path = await temporaryDirectory(t)
    const elsewhere = await temporaryDirectory(t)
    await writeFile(join(elsewhere, 'precious'), 'x')
    await mkdir(join(path, 'shards'))
    await symlink(elsewhere, join(path, 'shards', 'tmp'))
    await assert.rejects(openTestCache(t, path), { code: 'RELAY_ERR_CACHE_PATH', message: /tmp must be a directory/ })
    assert.deepEqual(await readdir(elsewhere), ['precious'])
  })
})
