import { readFileSync, readdirSync, statSync } from 'node:fs'
import { totalmem } from 'node:os'

/** Where Linux shows the descriptors of this process. */
const DESCRIPTORS = '/proc/self/fd'

/** What `measure` gives, or what it gave last: measuring needs descriptors too, and a process that is short of them must not end for that. */
function guarded (measure: () => number, last: number): () => number {
  let latest = last
  return () => {
    try {
      latest = measure()
    } catch {}
    return latest
  }
}

/** Resident memory of this process, bytes; the latest known one while it cannot be measured. Never throws. */
export const residentBytes = guarded(() => process.memoryUsage.rss(), 0)

/** Memory of the machine, or of the container when that has less, bytes. */
export function memoryLimit (): number {
  const constrained = process.constrainedMemory()
  // 0 and 2^64 both mean that nothing constrains it.
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}

/** Descriptors this process may have; undefined where the system does not tell. */
export function descriptorLimit (): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}

/** Descriptors this process has open; undefined where the system does not tell, the limit itself when they are so many that nobody can look. */
export function openDescriptors (limit: number): number | undefined {
  try {
    // Linux 6.2 and later count without opening the directory.
    const { size } = statSync(DESCRIPTORS)
    return size > 0 ? size : readdirSync(DESCRIPTORS).length - 1
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EMFILE' || code === 'ENFILE' ? limit : undefined
  }
}
