import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Metafile } from 'esbuild'

const MODULES = fileURLToPath(new URL('../node_modules', import.meta.url))

/** The licences of the packages whose code esbuild has put into files of ours. @param whose files, for the first line */
export async function licences (inputs: Metafile['inputs'], whose: string): Promise<string> {
  const names = new Set(Object.keys(inputs).flatMap(path => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []))
  const texts = await Promise.all([...names].sort().map(async name => {
    const folder = join(MODULES, name)
    const files = (await readdir(folder)).filter(file => /^licen[cs]e/i.test(file))
    const { license, version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { license: string, version: string }
    return [`${name} ${version} (${license})`, ...await Promise.all(files.map(async file => (await readFile(join(folder, file), 'utf8')).trim()))].join('\n\n')
  }))
  return `The JavaScript of ${whose} contains code of these packages.\n\n${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}
