import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { arch, cpus, release, totalmem } from 'node:os'
import { promisify } from 'node:util'
import { findProgram } from './peers/peer.ts'

/** How each program tells its version, and what of the answer is it. */
const PROGRAMS: ReadonlyArray<readonly [program: string, args: readonly string[], version: RegExp]> = [
  ['nginx', ['-v'], /nginx\/(\S+)/],
  ['varnishd', ['-V'], /varnish-(\S+)/],
  ['caddy', ['version'], /v?(\d\S*)/],
  ['h2load', ['--version'], /nghttp2\/(\S+)/],
  ['chromium', ['--version'], /Chromium (\S+)/]
]

async function versionOf (program: string, args: readonly string[], version: RegExp): Promise<string> {
  const path = await findProgram(program)
  if (path === undefined) return 'not installed'
  const { stdout, stderr } = await promisify(execFile)(path, [...args], { timeout: 20_000 }).catch(() => ({ stdout: '', stderr: '' }))
  return version.exec(stdout + stderr)?.[1] ?? 'unknown version'
}

/** The machine and the programs of a comparison, by name, in the order they are shown. */
export async function describeMachine (): Promise<Record<string, string>> {
  const system = /^PRETTY_NAME="(.*)"$/m.exec(await readFile('/etc/os-release', 'utf8').catch(() => ''))?.[1] ?? process.platform
  const versions = await Promise.all(PROGRAMS.map(async ([program, args, version]) => [program, await versionOf(program, args, version)] as const))
  return {
    CPU: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'} (${arch()})`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${system}, kernel ${release()}`,
    node: process.version,
    ...Object.fromEntries(versions)
  }
}
