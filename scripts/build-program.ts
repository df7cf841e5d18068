import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { buildProgram } from './program.ts'

/* `dist`, as far as it is the program. */

const DIST = fileURLToPath(new URL('../dist', import.meta.url))

await rm(DIST, { recursive: true, force: true })
await buildProgram(DIST)
