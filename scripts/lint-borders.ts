import { fileURLToPath } from 'node:url'
import { crossings, problemsOf } from './borders.ts'

/* Says which imports cross a border of the floor plan (`rooms.ts`); ends with 1 when any does. */

const problems = problemsOf(await crossings(fileURLToPath(new URL('../', import.meta.url))))
for (const problem of problems) console.error(problem)
console.log(`lint:borders: ${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
