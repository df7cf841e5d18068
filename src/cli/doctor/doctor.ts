import type { Config } from '../../config/config.ts'
import { listenersOf } from '../../config/listeners.ts'
import { checkStart } from '../start-check.ts'
import { RelayError } from '../../base/errors.ts'
import { checkCertificate } from './certificate.ts'
import { checkDisk, diskFacts } from './disk.ts'
import { fail, ok, type Diagnosis } from './diagnosis.ts'
import { checkMachine, machineFacts } from './machine.ts'
import { checkOrigins, originFacts } from './origins.ts'
import { bindError, checkPorts } from './ports.ts'

export interface DoctorDeps {
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** Of a relay with this configuration that runs, bytes of its cache; undefined when none answers. */
  readonly running: () => Promise<number | undefined>
}

/** Looks at everything that a relay with this configuration needs. Nothing it does is felt by a relay that runs. */
export async function examine (config: Config, { now, running }: DoctorDeps): Promise<Diagnosis[]> {
  const used = await running()
  const [facts, disk, origins, certificate, ...errors] = await Promise.all([
    machineFacts(),
    diskFacts(config.cache.path),
    originFacts(config, now),
    checkCertificate(config, now()),
    ...listenersOf(config).filter(({ port }) => port !== 0).map(async listener => ({ ...listener, error: await bindError(listener) }))
  ])
  return [
    used === undefined ? ok('relay', 'none of this configuration runs') : ok('relay', 'one of this configuration runs'),
    await checkSettings(config),
    ...checkMachine(config, facts),
    ...checkDisk(config, disk, used ?? 0),
    ...checkPorts(errors, used !== undefined),
    certificate,
    ...checkOrigins(origins)
  ]
}

/** What the start itself would refuse. */
async function checkSettings (config: Config): Promise<Diagnosis> {
  try {
    await checkStart(config)
    return ok('configuration', 'is valid')
  } catch (error) {
    if (!(error instanceof RelayError)) throw error
    return fail('configuration', error.message.replaceAll('\n', '; '), 'correct it: docs/operations.md has every key')
  }
}

const MARKS = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' } as const

/** Findings for people: a line each, and below those that are not well what to do. */
export function diagnosesText (findings: readonly Diagnosis[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length))
  const lines = findings.flatMap(({ name, level, says, cure }) => [`${MARKS[level]}  ${name.padEnd(width)}  ${says}`, ...cure === undefined ? [] : [`${' '.repeat(width + 8)}→ ${cure}`]])
  const count = (level: Diagnosis['level']): number => findings.filter(finding => finding.level === level).length
  return [...lines, '', `${count('ok')} well, ${count('warn')} to look at, ${count('fail')} to mend`, ''].join('\n')
}
