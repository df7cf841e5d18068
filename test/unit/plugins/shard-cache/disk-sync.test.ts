import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { bootIdOf, DiskSync, mayBeTorn, type SyncPolicy } from '../../../../src/plugins/shard-cache/disk-sync.ts'
import { watchedFiles, WRITE_POINTS, type WritePoint } from '../../../../src/plugins/shard-cache/write-points.ts'
import { MeasuredDisk, systemFiles, type FileSystem, type OpenFile } from '../../../../src/storage/disk-files.ts'
import { recordingObserver } from '../../../support/cache.ts'

const HANDLE: OpenFile = { fd: 0, read: async () => ({ bytesRead: 0 }), writev: async () => ({ bytesWritten: 0 }), datasync: async () => {}, close: async () => {} }

/** What is asked of the disk, as words. */
function asked (policy: SyncPolicy): { sync: DiskSync, calls: string[], handle: OpenFile } {
  const calls: string[] = []
  const fs: FileSystem = { ...systemFiles, syncDirectory: async path => { calls.push(path) } }
  const sync = new DiskSync({ policy, root: '/c', disk: new MeasuredDisk(fs, recordingObserver(), () => 0) })
  return { sync, calls, handle: { ...HANDLE, datasync: async () => { calls.push('bytes') } } }
}

suite('what waits for the disk', () => {
  test('is nothing, the bytes, or bytes and names: those of the directories above once, and again when they were made anew', async () => {
    for (const [policy, expected] of [['none', []], ['data', ['bytes']], ['full', ['bytes', '/c/ab/cd', '/c/ab', '/c']]] as const) {
      const { sync, calls, handle } = asked(policy)
      await sync.bytes(handle)
      await sync.name('/c/ab/cd/one')
      assert.deepEqual(calls, expected, policy)
    }
    const { sync, calls } = asked('full')
    await sync.name('/c/ab/cd/one')
    await sync.name('/c/ab/cd/two')
    assert.equal(calls.length, 4)
    sync.forget('/c/ab/cd/three')
    await sync.name('/c/ab/cd/three')
    await sync.name('/c/ab/ce/four')
    assert.deepEqual(calls.slice(4), ['/c/ab/cd', '/c/ab', '/c', '/c/ab/ce', '/c/ab', '/c'])
  })

  test('is told by the names of files: those of a run that waited for nothing may be torn', () => {
    const run = Math.floor(1_700_000_000_000).toString(36)
    for (const policy of ['data', 'full'] as const) assert.equal(mayBeTorn(`${bootIdOf(run, policy)}1`), false)
    assert.equal(mayBeTorn(`${bootIdOf(run, 'none')}1`), true)
  })
})

suite('changes of the disk', () => {
  test('are told before and after, also where they fail, by what they change; reads are not told', async () => {
    const told: [WritePoint, string][] = []
    const fail = async (): Promise<never> => { throw Object.assign(new Error('EIO'), { code: 'EIO' }) }
    const fs = watchedFiles({ ...systemFiles, open: async () => HANDLE, rename: async () => {}, unlink: fail, mkdir: async () => undefined, syncDirectory: async () => {} }, '/c', (point, when) => { told.push([point, when]) })
    for (const [path, flags] of [['/c/tmp/a', 'wx+'], ['/c/partial/b', 'r+'], ['/c/partial/b.json.new', 'w'], ['/c/ab/cd/e', 'r']] as const) {
      const file = await fs.open(path, flags)
      await file.read(Buffer.alloc(1), 0, 1, 0)
      if (flags === 'r') continue
      await file.writev([Buffer.alloc(1)], 0)
      await file.datasync()
      await file.close()
    }
    for (const path of ['/c/ab/cd/e', '/c/partial/b', '/c/partial/b.json']) await fs.rename('/c/tmp/a', path)
    for (const path of ['/c/tmp/a', '/c/ab/cd/e', '/c/partial/b', '/c/partial/b.json']) await assert.rejects(fs.unlink(path), { code: 'EIO' })
    await fs.mkdir('/c/ab')
    await fs.syncDirectory('/c/ab')
    assert.deepEqual(told, WRITE_POINTS_IN_TURN.flatMap(point => [[point, 'before'], [point, 'after']]))
    assert.deepEqual(new Set([...WRITE_POINTS_IN_TURN, 'index-write']), new Set(WRITE_POINTS))
  })

  test('without a name are refused', async () => {
    const fs = watchedFiles({ ...systemFiles, open: async () => HANDLE }, '/c', () => {})
    await assert.rejects(fs.open('/c/ab/cd/e', 'r+'), /body-open is not among the write points/)
  })
})

const WRITE_POINTS_IN_TURN: readonly WritePoint[] = [
  'spool-open', 'spool-write', 'spool-sync', 'partial-open', 'partial-write', 'partial-sync', 'record-open', 'record-write', 'record-sync',
  'body-rename', 'partial-rename', 'record-rename', 'spool-unlink', 'body-unlink', 'partial-unlink', 'record-unlink', 'directory-make', 'directory-sync'
]
