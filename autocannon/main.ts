/** `npm run load -- <scenario>…`: load on real processes, as a table and as JSON. Exits 1 when not every answer was right, 2 when misused. */
import { writeFile } from 'node:fs/promises'
import { runProgram } from './arguments.ts'
import { HELP, LIST, load } from './commands.ts'
import { isClean } from './result.ts'
import { profileTables, resultTable } from './table.ts'

async function main (args: readonly string[]): Promise<number> {
  const [command] = args
  if (command === undefined || command === 'help' || command === '--help') {
    process.stdout.write(HELP)
    return command === undefined ? 2 : 0
  }
  if (command === 'list') {
    process.stdout.write(LIST)
    return 0
  }
  const { results, json } = await load(args)
  process.stdout.write(`${resultTable(results)}\n${profileTables(results)}`)
  for (const { scenario, errorTexts } of results) for (const text of errorTexts) process.stderr.write(`${scenario}: ${text}\n`)
  if (json !== undefined) await writeFile(json, `${JSON.stringify(results, null, 2)}\n`)
  return results.every(isClean) ? 0 : 1
}

await runProgram('load', main)
