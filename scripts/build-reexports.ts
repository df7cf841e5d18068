import { cp, mkdir, writeFile } from 'node:fs/promises'

/* What the main package has of the client: `icn-relay/client` and `icn-relay/client/node`, which pass on what `icn-relay-client` exports, and the files that the player page loads. */

const ROOT = new URL('../', import.meta.url)
const OUT = new URL('dist/client/', ROOT)

await mkdir(OUT, { recursive: true })
for (const [name, from] of [['index', 'icn-relay-client'], ['node', 'icn-relay-client/node']] as const) {
  for (const ending of ['.js', '.d.ts']) await writeFile(new URL(name + ending, OUT), `export * from '${from}'\n`)
}
await cp(new URL('client/dist/browser/', ROOT), new URL('dist/browser/', ROOT), { recursive: true })
await cp(new URL('client/dist/licences.txt', ROOT), new URL('dist/browser/licences.txt', ROOT))
