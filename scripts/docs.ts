import { readFile, writeFile } from 'node:fs/promises'
import { ARCHITECTURE, withPlan } from './architecture.ts'
import { dashboard, DASHBOARD } from './dashboard.ts'
import { MAN_PAGE, manPage } from './man-page.ts'
import { FILE, withTables } from './docs-tables.ts'

await writeFile(FILE, withTables(await readFile(FILE, 'utf8')))
await writeFile(ARCHITECTURE, withPlan(await readFile(ARCHITECTURE, 'utf8')))
await writeFile(DASHBOARD, dashboard())
await writeFile(MAN_PAGE, manPage())
