import { readFile } from 'node:fs/promises'
import { freemem } from 'node:os'
import { BACKLOG } from '../../base/backlog.ts'
import { descriptorLimit, memoryLimit } from '../../base/process-use.ts'
import type { Config } from '../../config/config.ts'
import { endOfNode } from '../node-version.ts'
import { fail, ok, sizeText, warn, type Diagnosis } from './diagnosis.ts'

/** What the machine says of itself. */
export interface MachineFacts {
  readonly node: string
  /** Descriptors that a process may have; undefined where the system does not tell. */
  readonly descriptors: number | undefined
  /** Memory that the process may have, and what is free of it, bytes. */
  readonly memory: { readonly total: number, readonly free: number }
  /** Settings of the kernel by name, of those that it has. */
  readonly kernel: Readonly<Partial<Record<KernelSetting, number>>>
  readonly root: boolean
}

const KERNEL_SETTINGS = ['net/core/rmem_max', 'net/core/wmem_max', 'net/core/somaxconn'] as const
type KernelSetting = typeof KERNEL_SETTINGS[number]

/** What a burst of QUIC packets needs while the gateway does something else; the value that quic-go and Caddy ask for. */
const UDP_BUFFER_BYTES = 7_500_000
/** Below it, files and connections of a busy relay run out. */
const FEW_DESCRIPTORS = 8_192

export async function machineFacts (): Promise<MachineFacts> {
  const kernel: Partial<Record<KernelSetting, number>> = {}
  for (const name of KERNEL_SETTINGS) {
    const text = await readFile(`/proc/sys/${name}`, 'utf8').catch(() => undefined)
    if (text !== undefined) kernel[name] = Number(text)
  }
  return {
    node: process.versions.node,
    descriptors: descriptorLimit(),
    memory: { total: memoryLimit(), free: freemem() },
    kernel,
    root: process.getuid?.() === 0
  }
}

export function checkMachine (config: Config, { node, descriptors, memory, kernel, root }: MachineFacts): Diagnosis[] {
  const ended = endOfNode(node)
  const findings = [ended === undefined ? ok('node', node) : warn('node', ended, 'install Node 24 or 22')]
  if (descriptors !== undefined) {
    findings.push(descriptors >= FEW_DESCRIPTORS
      ? ok('descriptors', `${descriptors} may be open`)
      : warn('descriptors', `${descriptors} may be open: about ${Math.floor(descriptors / 2)} viewers at the same time`, 'LimitNOFILE=65536 in the unit, or "ulimit -n 65536" before the start'))
  }
  findings.push(checkMemory(config, memory))
  if (config.transport.engine !== 'off') findings.push(...checkUdp(kernel))
  const backlog = kernel['net/core/somaxconn']
  if (backlog !== undefined && backlog < BACKLOG) findings.push(warn('backlog', `net.core.somaxconn is ${backlog}, so that more connections in one moment are dropped`, `sysctl -w net.core.somaxconn=${BACKLOG}`))
  if (root && config.process.user === '') findings.push(warn('user', 'the relay would run as root, which it needs for nothing', 'set process.user, or start it as another user, as deploy/icn-relay.service does'))
  return findings
}

function checkMemory ({ cache, transport }: Config, { total, free }: MachineFacts['memory']): Diagnosis {
  const most = cache.ram_bytes + cache.pass_through_bytes + (transport.engine === 'off' ? 0 : transport.ram_bytes)
  const says = `${sizeText(most)} at most for objects, of ${sizeText(total)}, ${sizeText(free)} free now`
  if (most > total) return fail('memory', says, 'lower cache.ram_bytes, cache.pass_through_bytes or transport.ram_bytes')
  if (most > total / 2) return warn('memory', says, 'lower cache.ram_bytes: the system keeps files that are read often in memory by itself')
  return ok('memory', says)
}

function checkUdp (kernel: MachineFacts['kernel']): Diagnosis[] {
  const small = (['net/core/rmem_max', 'net/core/wmem_max'] as const).filter(name => (kernel[name] ?? Infinity) < UDP_BUFFER_BYTES)
  if (small.length === 0) return [ok('udp buffers', 'large enough for bursts')]
  const names = small.map(name => `${name.replaceAll('/', '.')}=${kernel[name] ?? ''}`)
  return [warn('udp buffers', `${names.join(', ')}: viewers over HTTP/3 lose packets when the gateway is busy for a moment`, small.map(name => `sysctl -w ${name.replaceAll('/', '.')}=${UDP_BUFFER_BYTES}`).join('; '))]
}
