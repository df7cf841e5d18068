import { readFile, writeFile } from 'node:fs/promises'
import { FILE, withTables } from './docs-tables.ts'

await writeFile(FILE, withTables(await readFile(FILE, 'utf8')))
