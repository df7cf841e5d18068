import { mkdtemp, open, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { systemCode } from '../../base/errors.ts'
import type { Config } from '../../config/config.ts'
import { fail, ok, sizeText, warn, type Diagnosis } from './diagnosis.ts'

/** What is known of the place of the cache. */
export interface DiskFacts {
  /** The nearest directory that exists. */
  readonly path: string
  /** Code of the error when nothing can be written there. */
  readonly refused?: string
  readonly size: number
  readonly free: number
  /** Files that may still be made; 0 where the file system does not count them. */
  readonly freeFiles: number
  readonly files: number
  /** Of statfs(2). */
  readonly type: number
  /** What it took to write a small file and to have it on the disk, ms; the median of a few. */
  readonly syncMs: number
}

const TRIALS = 5
const TRIAL_BYTES = 65_536
/** Beyond it, the index of a busy relay falls behind. */
const SLOW_SYNC_MS = 100
/** Below it, room of others is used up by what the file system adds. */
const LEFT_SHARE = 0.05
/** An object and its directory. */
const BYTES_A_FILE = 1_048_576

/** File systems that are no disk of this machine, by their magic numbers; statfs(2). */
const ODD: ReadonlyMap<number, string> = new Map([[0x01021994, 'tmpfs'], [0x6969, 'NFS'], [0xff534d42, 'CIFS'], [0xfe534d42, 'SMB'], [0x65735546, 'FUSE'], [0x794c7630, 'overlayfs']])

/** @param path of the cache, which need not exist */
export async function diskFacts (path: string): Promise<DiskFacts> {
  let existing = resolve(path)
  while (await stat(existing).then(() => false, () => dirname(existing) !== existing)) existing = dirname(existing)
  const { bsize, blocks, bavail, files, ffree, type } = await statfs(existing)
  const facts = { path: existing, size: blocks * bsize, free: bavail * bsize, files, freeFiles: ffree, type }
  try {
    return { ...facts, syncMs: await syncMs(existing) }
  } catch (error) {
    return { ...facts, syncMs: 0, refused: systemCode(error) ?? String(error) }
  }
}

async function syncMs (directory: string): Promise<number> {
  const own = await mkdtemp(join(directory, '.icn-relay-doctor-'))
  try {
    const times: number[] = []
    for (let trial = 0; trial < TRIALS; trial++) {
      const start = performance.now()
      const file = await open(join(own, String(trial)), 'wx')
      try {
        await file.write(Buffer.alloc(TRIAL_BYTES, trial))
        await file.datasync()
      } finally {
        await file.close()
      }
      times.push(performance.now() - start)
    }
    return times.toSorted((a, b) => a - b)[TRIALS >> 1] ?? 0
  } finally {
    await rm(own, { recursive: true, force: true })
  }
}

/** @param used bytes that the cache has there already */
export function checkDisk ({ cache }: Config, { path, refused, size, free, freeFiles, files, type, syncMs: ms }: DiskFacts, used: number): Diagnosis[] {
  if (refused !== undefined) return [fail('disk', `nothing can be written below ${path}: ${refused}`, 'give the directory to the user of the relay (chown), or set cache.path')]
  const findings: Diagnosis[] = []
  const room = free + used
  const says = `${path}: ${sizeText(room)} for a cache of ${sizeText(cache.max_bytes)}`
  if (cache.max_bytes > size) findings.push(warn('disk', `${says}, of a disk of ${sizeText(size)}`, 'lower cache.max_bytes, or use another disk; until then the cache keeps what fits beside cache.min_free_bytes'))
  else if (cache.max_bytes > room - size * LEFT_SHARE) findings.push(warn('disk', `${says}: the file system needs some for itself`, `lower cache.max_bytes to ${sizeText(Math.max(0, room - size * LEFT_SHARE))}, or make room`))
  else findings.push(ok('disk', says))
  if (files > 0 && freeFiles < Math.min(cache.max_bytes, room) / BYTES_A_FILE) findings.push(warn('files', `${freeFiles} more files fit on the disk: fewer than objects of 1 MiB for the room there is`, 'make the file system with more inodes (mkfs.ext4 -i)'))
  const odd = ODD.get(type)
  if (odd !== undefined) findings.push(warn('file system', `${odd}: ${odd === 'tmpfs' ? 'the cache is memory, and gone after a restart of the machine' : 'the relay expects a disk of its own, with locks and rename'}`, 'put cache.path on a local disk (ext4, XFS)'))
  findings.push(ms > SLOW_SYNC_MS
    ? warn('disk speed', `64 KiB take ${ms.toFixed(0)} ms to be on the disk`, 'look who else uses it (iostat -x 1), or use another disk')
    : ok('disk speed', `64 KiB are on the disk after ${ms.toFixed(1)} ms`))
  return findings
}
