import type { Report } from './result.ts'
import { goalsText, markdown, scenarioText } from './table.ts'

/** The measured part of `docs/performance.md`. */
export function reportText ({ command, startedAt, minutes, runs, machine, scenarios, goals }: Report): string {
  const described = markdown(['machine', ''], Object.entries(machine))
  return [
    `Measured on ${startedAt.slice(0, 10)} with \`${command}\`, ${minutes.toFixed(1)} minutes, medians of ${runs}. MB are 10^6 bytes.`,
    described,
    '## Goals',
    'Ratios are medians of ratios of the same run, with the smallest and the largest.',
    goalsText(goals),
    '## Results',
    ...scenarios.map(scenarioText)
  ].join('\n\n')
}
