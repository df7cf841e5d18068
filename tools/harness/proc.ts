/** What /proc tells of a process (Linux; proc(5)). */
import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'

/** USER_HZ of Linux is 100 on every architecture we know: one tick of /proc is 10 ms. */
const TICK_MS = 10

export interface Usage {
  /** User and system time, ms. */
  readonly cpuMs: number
  readonly residentBytes: number
}

/** CPU time of a process so far, user and system, ms. @throws the file system's error when there is no such process */
export async function cpuMs (pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The second field is the name in parentheses, which may hold spaces; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** Resident memory of a process, bytes. @throws the file system's error when there is no such process */
export async function residentBytes (pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024
}

/** Ids in a list of children as the kernel writes it. */
const idsIn = (list: string): number[] => list.split(' ').filter(text => text !== '').map(Number)

/** Children of any thread of a process: Node's may belong to each of them. None when there is no such process. */
export async function childrenOf (pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const lists = await Promise.all(threads.map(async thread => await readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '')))
  return lists.flatMap(idsIn)
}

/** The first child of the main thread, for those who look again and again and miss nothing between; undefined before there is one. */
export function firstChildOf (pid: number): number | undefined {
  return idsIn(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'))[0]
}

/** Of a process and all its descendants; those that end meanwhile are left out. */
export async function usageOf (pid: number): Promise<Usage> {
  const [own, resident, children] = await Promise.all([cpuMs(pid).catch(() => 0), residentBytes(pid).catch(() => 0), childrenOf(pid)])
  const below = await Promise.all(children.map(usageOf))
  return {
    cpuMs: own + below.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    residentBytes: resident + below.reduce((sum, { residentBytes }) => sum + residentBytes, 0)
  }
}
