import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { requireProgram } from '../peers/peer.ts'
import { quantile } from '../statistics.ts'
import type { Percentiles } from './load.ts'

export interface H2loadOrder {
  readonly port: number
  readonly paths: readonly string[]
  readonly connections: number
  /** Requests of one connection at the same time. */
  readonly streams: number
  /** Whole seconds. */
  readonly seconds: number
  readonly core: number | undefined
  /** For its files. */
  readonly directory: string
}

export interface H2loadOutcome {
  readonly bytes: number
  readonly seconds: number
  readonly wholeMs: Percentiles
  readonly cpuMs: number
  readonly errors: readonly string[]
}

/** Reads what h2load prints. @throws Error when it is not the summary */
export function parseSummary (text: string): { bytes: number, seconds: number, failed: number } {
  const seconds = /^finished in ([\d.]+)(us|ms|s),/m.exec(text)
  const data = /^traffic: .*\((\d+)\) data$/m.exec(text)
  const requests = /^requests: .* (\d+) failed, (\d+) errored, (\d+) timeout$/m.exec(text)
  if (seconds === null || data === null || requests === null) throw new Error(`h2load said: ${text.trim().slice(-300)}`)
  const unit = { us: 1e-6, ms: 1e-3, s: 1 }[seconds[2] ?? 's'] ?? 1
  return { bytes: Number(data[1]), seconds: Number(seconds[1]) * unit, failed: Number(requests[1]) }
}

/** CPU of the commands a shell has run, ms, as its `times` prints it. */
export function parseTimes (text: string): number {
  const times = [...text.matchAll(/(\d+)m([\d.]+)s (\d+)m([\d.]+)s/g)].at(-1)
  if (times === undefined) return Number.NaN
  return Math.round((Number(times[1]) * 60 + Number(times[2]) + Number(times[3]) * 60 + Number(times[4])) * 1_000)
}

/**
 * Loads a server over HTTP/2 and TLS 1.3. All servers speak the one cipher that all prefer on hardware with AES.
 * @throws Error when h2load is not installed or fails
 */
export async function h2load ({ port, paths, connections, streams, seconds, core, directory }: H2loadOrder): Promise<H2loadOutcome> {
  const command = await requireProgram('h2load')
  const uris = join(directory, 'h2load-uris')
  const log = join(directory, 'h2load-log')
  await writeFile(uris, paths.map(path => `https://127.0.0.1:${port}${path}\n`).join(''))
  await rm(log, { force: true })
  const args = [command, '-t', '1', '-c', String(connections), '-m', String(streams), '-D', String(seconds), '--tls13-ciphers=TLS_AES_128_GCM_SHA256', `--log-file=${log}`, '-i', uris]
  // `times` is the one way to learn the CPU of a process that ends by itself.
  const { stdout } = await promisify(execFile)('sh', ['-c', '"$@"; status=$?; times; exit $status', 'sh', ...core === undefined ? [] : ['taskset', '-c', String(core)], ...args], { timeout: (seconds + 30) * 1_000 })
  const summary = parseSummary(stdout)
  const whole = (await readFile(log, 'utf8')).split('\n').flatMap(line => {
    const [, status, us] = line.split('\t')
    return status === '200' ? [Number(us) / 1_000] : []
  }).sort((a, b) => a - b)
  return {
    bytes: summary.bytes,
    seconds: summary.seconds,
    wholeMs: { p50: quantile(whole, 0.5), p99: quantile(whole, 0.99) },
    cpuMs: parseTimes(stdout),
    errors: summary.failed === 0 ? [] : [`${summary.failed} requests failed`]
  }
}
