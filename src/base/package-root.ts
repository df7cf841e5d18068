import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(import.meta.url)

/** The directory of this package, whose `package.json` it is: what is built does not lie as deep as what it was built of. */
export const PACKAGE_ROOT = ((): string => {
  for (let at = dirname(here); ; at = dirname(at)) if (existsSync(join(at, 'package.json')) || at === dirname(at)) return at
})()

/** Whether the sources run, and not what was built of them. */
export const FROM_SOURCES = here.endsWith('.ts')

/** Path of a module that is started, and not imported. @param name of its source, below `src` and without an ending */
export const startedModule = (name: string): string => FROM_SOURCES ? join(PACKAGE_ROOT, 'src', `${name}.ts`) : join(PACKAGE_ROOT, 'dist', `${name}.js`)
