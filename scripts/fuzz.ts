import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { newerGlibc } from '../tools/harness/newer-glibc.ts'
import { fuzzTarget, type FuzzResult } from './fuzz-target.ts'

/*
 * Coverage-guided fuzzing of what reads the words of strangers (docs/decisions/0026-fuzzing.md): `npm run fuzz -- --seconds=60 --only via`. Runs every target of
 * test/fuzz for so many seconds, as many at the same time as there are cores; ends with 1 when one found something, with its input as base64. An input
 * that is kept in test/fuzz/corpus is part of `npm test` from then on. `--found DIR` leaves inputs of new coverage there.
 */

const TARGETS = 'test/fuzz'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '6' }, only: { type: 'string' }, found: { type: 'string' } } })
const seconds = Number(values.seconds)
if (!Number.isInteger(seconds) || seconds < 1) throw new Error('--seconds is a whole number from 1')
const all = (await readdir(TARGETS)).filter(name => name.endsWith('.ts')).map(name => basename(name, '.ts'))
const names = all.filter(name => values.only === undefined || name === values.only)
if (names.length === 0) throw new Error(`there is no target ${values.only}, only ${all.join(', ')}`)
const glibc = await newerGlibc()
if ('without' in glibc) throw new Error(`the fuzzer is built for glibc 2.38: ${glibc.without}`)

function report (name: string, { runs, edges, finding }: FuzzResult): void {
  console.log(`fuzz: ${name}: ${runs} runs, ${edges} edges${finding === undefined ? '' : ', FOUND SOMETHING'}`)
  if (finding === undefined) return
  process.exitCode = 1
  console.log(finding.output.split('\n').slice(-60).join('\n'))
  if (finding.input === undefined) return
  const kept = join(TARGETS, 'corpus', name, createHash('sha256').update(finding.input).digest('hex').slice(0, 16))
  console.log(`fuzz: keep the input with\necho ${finding.input.toString('base64')} | base64 -d > ${kept}`)
}

const waiting = names.values()
await Promise.all(Array.from({ length: availableParallelism() }, async () => {
  for (const name of waiting) {
    report(name, await fuzzTarget({
      file: join(TARGETS, `${name}.ts`),
      corpus: join(TARGETS, 'corpus', name),
      seconds,
      node: glibc.command,
      ...values.found === undefined ? {} : { found: join(values.found, name) }
    }))
  }
}))
