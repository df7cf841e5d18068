/** A relay that is ended while it starts, by whom and when the caller says. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ManagedProcess, nodeCommand, type Exit } from './managed-process.ts'
import { firstChildOf } from './proc.ts'
import { SERVER } from './processes.ts'

export interface EarlyEnd {
  readonly signal: NodeJS.Signals
  /** After the process was spawned; for process 1 that is to be told, and not killed, after it has handlers of its own, before which Node loses what it is told. ms */
  readonly afterMs: number
  /** As process 1 of a namespace of its own, as in a container; needs root and unshare. */
  readonly first: boolean
}

export interface EarlyEnded extends Exit {
  /** Between the signal and the end, ms. */
  readonly ms: number
  /** Last message of the log. */
  readonly last: string
}

/** Writes a configuration for a cache directory; its path. */
export async function configFor (directory: string, cachePath: string): Promise<string> {
  const file = join(directory, 'relay.toml')
  await writeFile(file, [
    '[viewer]', 'host = "127.0.0.1"', 'port = 0', 'websocket_port = 0', 'stop_timeout_ms = 2000', '[admin]', 'port = 0', '[transport]', 'engine = "off"',
    '[cache]', `path = ${JSON.stringify(cachePath)}`, '[upstream]', 'super_nodes = [{ url = "http://127.0.0.1:9", region = "APAC" }]'
  ].join('\n'))
  return file
}

const SIGHUP_BIT = 1n

/** Whether the program has its handlers: Node sets one for SIGTERM long before, which raises it again, in vain for process 1, and none for SIGHUP. */
function listens (pid: number): boolean {
  const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0'
  return (BigInt(`0x${mask}`) & SIGHUP_BIT) !== 0n
}

/** Starts a relay and ends it as told; killed after `deadlineMs` when it does not end, which shows in its `signal`. */
export async function endEarly (config: string, { signal, afterMs, first }: EarlyEnd, deadlineMs = 20_000): Promise<EarlyEnded> {
  const relay = ManagedProcess.start([...first ? ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'] : [], ...nodeCommand(SERVER, '--config', config)], { name: 'the relay' })
  let pid = relay.pid
  if (first) {
    const heard = (): boolean => pid !== 0 && (signal === 'SIGKILL' || listens(pid))
    for (pid = 0; !heard(); await new Promise(resolve => { setImmediate(resolve) })) pid = firstChildOf(relay.pid) ?? 0
  }
  await new Promise(resolve => { setTimeout(resolve, afterMs) })
  const told = performance.now()
  if (relay.running) process.kill(pid, signal)
  const late = setTimeout(() => { process.kill(pid, 'SIGKILL') }, deadlineMs)
  const { code, signal: by } = await relay.exit
  clearTimeout(late)
  return { code, signal: by, ms: performance.now() - told, last: JSON.stringify(relay.events.at(-1)?.['msg'] ?? '') }
}
