/** What `npm pack` makes of `client/`, installed with nothing beside it but what it names: used from Node, and bundled for a page. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { build, type BuildResult, type Metafile } from 'esbuild'
import { DEMO_PUBLIC_KEY, mediaCid } from '../../demo/super-node/manifest.ts'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { sha256 } from '../../tools/harness/http.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

/** What a page may load before its first request goes out, compressed, bytes. */
const MAX_FIRST_BYTES = 12_000
/** What it loads to fetch shards over WebTransport, that included. */
const MAX_SESSION_BYTES = 19_000
/** What a page for files loads before its first request goes out, compressed, bytes. */
const MAX_FILES_BYTES = 14_000
const CID = 'syn-100000-package'
/** Of the clip. */
const TYPE = 'video/webm; codecs="vp9,opus"'

interface Manifest {
  readonly version: string
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies: Record<string, string>
  readonly peerDependencies?: Record<string, string>
}

async function manifest (name: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(ROOT, name), 'utf8')) as Manifest
}

const hooks: (() => Promise<void>)[] = []
/** A project with the packed package and, as npm would have it, the engine that the package names. */
let project: string
let files: string[]

before(async () => {
  project = await temporaryDirectory({ after: hook => { hooks.push(hook as () => Promise<void>) } })
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], { cwd: join(ROOT, 'client') })
  const [packed] = JSON.parse(stdout) as { filename: string, files: { path: string }[] }[]
  files = packed?.files.map(({ path }) => path) ?? []
  assert.ok(files.includes('dist/index.js'), 'run `npm run build` first')
  const modules = join(project, 'node_modules')
  await mkdir(join(modules, '@moq'), { recursive: true })
  await run('tar', ['-xzf', join(project, packed?.filename ?? ''), '-C', modules])
  await cp(join(modules, 'package'), join(modules, 'icn-relay-client'), { recursive: true })
  const { optionalDependencies } = await manifest('client/package.json')
  const installed = new Set((await readdir(join(ROOT, 'node_modules/@moq'))).map(name => `@moq/${name}`))
  for (const name of Object.keys(optionalDependencies).filter(name => installed.has(name))) await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  await writeFile(join(project, 'package.json'), '{ "type": "module" }')
})

after(async () => { for (const hook of hooks) await hook() })

suite('the package', () => {
  test('depends on nothing but the engine, in the version of the relay, whose version is its own', async () => {
    const [client, relay] = [await manifest('client/package.json'), await manifest('package.json')]
    assert.deepEqual([client.dependencies, client.peerDependencies], [undefined, undefined])
    assert.deepEqual(client.optionalDependencies, relay.optionalDependencies)
    assert.equal(relay.dependencies?.['icn-relay-client'], client.version)
    assert.equal(relay.version, client.version)
  })

  test('has licences, its own and those of the code in it, and no sources or maps', async () => {
    assert.deepEqual(['LICENSE', 'README.md', 'dist/licences.txt', 'dist/browser/client.js'].filter(path => !files.includes(path)), [])
    assert.equal(await readFile(join(ROOT, 'client/LICENSE'), 'utf8'), await readFile(join(ROOT, 'LICENSE'), 'utf8'))
    const licences = await readFile(join(project, 'node_modules/icn-relay-client/dist/licences.txt'), 'utf8')
    for (const name of ['@fails-components/webtransport', '@digitaldefiance/reed-solomon-erasure.wasm']) assert.ok(licences.includes(`\n${name} `), name)
    assert.deepEqual(files.filter(path => path.endsWith('.map') || /(?<!\.d)\.ts$/.test(path) || path.startsWith('src/')), [])
  })

  test('imports of others nothing but Node, and from Node nothing in what browsers load', async () => {
    const absWorkingDir = join(project, 'node_modules/icn-relay-client')
    const { metafile } = await build({ absWorkingDir, entryPoints: files.filter(path => path.endsWith('.js')), outdir: 'out', bundle: true, platform: 'node', format: 'esm', packages: 'external', metafile: true, write: false })
    const outside = Object.entries(metafile.inputs).map(([path, { imports }]) => ({ path, names: imports.filter(({ external }) => external === true).map(({ path: name }) => name) }))
    assert.ok(outside.length > 15)
    assert.deepEqual(outside.filter(({ names }) => names.some(name => !name.startsWith('node:'))), [])
    assert.deepEqual(outside.filter(({ names }) => names.length > 0).map(({ path }) => path).sort(), ['dist/engine-file.js', 'dist/node-http2.js', 'dist/node-quinn.js', 'dist/node.js'])
  })
})

test('the relay passes on what the package exports, the same classes', async () => {
  for (const [ours, theirs] of [['icn-relay/client', 'icn-relay-client'], ['icn-relay/client/node', 'icn-relay-client/node']] as const) {
    const [passed, own] = await Promise.all([import(ours), import(theirs)]) as [Record<string, unknown>, Record<string, unknown>]
    assert.ok(typeof own['ShardClientError'] === 'function')
    assert.deepEqual({ ...passed }, { ...own })
  }
})

suite('in a page', () => {
  let outputs: Metafile['outputs']
  let sizes: Map<string, number>
  /** Bytes that an entry loads before it needs more. */
  const first = new Map<string, number>()

  before(async () => {
    await writeFile(join(project, 'page.js'), "import { connect } from 'icn-relay-client'\nglobalThis.relay = connect(location.origin)\n")
    await writeFile(join(project, 'files.js'), "import { connect } from 'icn-relay-client/files'\nglobalThis.relay = connect(location.origin)\n")
    const bundle = async (entry: string): Promise<BuildResult<{ metafile: true, write: false }>> => await build({
      absWorkingDir: project,
      entryPoints: [entry],
      outdir: 'page',
      bundle: true,
      splitting: true,
      format: 'esm',
      minify: true,
      metafile: true,
      write: false,
      logLevel: 'silent'
    })
    for (const entry of ['files.js', 'page.js']) {
      const { metafile, outputFiles } = await bundle(entry)
      outputs = metafile.outputs
      sizes = new Map(outputFiles.map(({ path, contents }) => [path.slice(project.length + 1), gzipSync(contents, { level: 9 }).length]))
      first.set(entry, [...loaded(`page/${entry}`)].reduce((sum, file) => sum + (sizes.get(file) ?? Number.NaN), 0))
    }
  })

  /** What is loaded with a file. */
  const loaded = (file: string, found = new Set<string>()): Set<string> => {
    found.add(file)
    for (const { kind, path } of outputs[file]?.imports ?? []) if (kind === 'import-statement' && !found.has(path)) loaded(path, found)
    return found
  }

  test(`a bundle is at most ${MAX_FIRST_BYTES} bytes, compressed, before it needs more, and ${MAX_SESSION_BYTES} with what sessions need`, t => {
    const bytes = [...loaded('page/page.js')].reduce((sum, file) => sum + (sizes.get(file) ?? Number.NaN), 0)
    t.diagnostic(`${bytes} bytes; later: ${[...sizes].filter(([file]) => !loaded('page/page.js').has(file)).map(([file, size]) => `${file} ${size}`).join(', ')}`)
    assert.ok(bytes <= MAX_FIRST_BYTES, `${bytes}`)
    const sessions = [...sizes].filter(([file]) => /^page\/(?:answers|sessions)-/.test(file)).reduce((sum, [, size]) => sum + size, 0)
    assert.ok(sessions > 0 && bytes + sessions <= MAX_SESSION_BYTES, `${bytes + sessions}`)
  })

  test(`one for files is at most ${MAX_FILES_BYTES} bytes`, t => {
    const bytes = first.get('files.js') ?? Number.NaN
    t.diagnostic(`${bytes} bytes`)
    assert.ok(bytes <= MAX_FILES_BYTES, `${bytes}`)
  })

  test('sessions, videos, WebSocket and the erasure code are loaded later', () => {
    const first = [...loaded('page/page.js')].flatMap(file => Object.keys(outputs[file]?.inputs ?? {})).map(path => path.split('/').at(-1))
    assert.ok(first.includes('core.js'))
    const all = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs)).map(path => path.split('/').at(-1))
    for (const name of ['answers.js', 'sessions.js', 'video-parts.js', 'websocket.js', 'erasure.js']) assert.deepEqual([first.includes(name), all.includes(name)], [false, true], name)
    assert.ok(!all.some(name => name?.startsWith('node')), 'nothing of Node')
  })
})

suite('in Node', () => {
  test('fetches a shard over each transport and repairs a video', { timeout: 240_000 }, async t => {
    const origin = await startSuperNode({ port: 0, media: [join(ROOT, 'demo/media/clip.webm')], faults: { match: 'shard_00|shard_0.bin', notFound: true } })
    t.after(async () => { await origin.close() })
    const relay = await spawnRelay(t, [origin])
    const clip = await readFile(join(ROOT, 'demo/media/clip.webm'))
    const cid = mediaCid(createHash('sha256').update(clip).digest())
    await writeFile(join(project, 'viewer.js'), `
import { createHash } from 'node:crypto'
import { connect } from 'icn-relay-client'
import { connect as again } from 'icn-relay-client/node'
const [relay, cid] = process.argv.slice(2)
const found = { same: connect === again }
for (const name of ['webtransport', 'websocket', 'http']) {
  const client = await connect(relay, { transports: [name] })
  const { bytes, transport } = await client.fetchShard('${CID}', 3)
  found[name] = [transport, createHash('sha256').update(bytes).digest('hex')]
  client.close()
}
const client = await connect(relay)
const { bytes, repaired } = await client.fetchVideo(cid)
client.close()
console.log(JSON.stringify({ ...found, video: [repaired, createHash('sha256').update(bytes).digest('hex')] }))
process.exit()
`)
    const { stdout, stderr } = await run(process.execPath, ['viewer.js', relay.viewerUrl, cid], { cwd: project })
    const expected = sha256(syntheticShard(CID, 3))
    assert.deepEqual(JSON.parse(stdout), { same: true, webtransport: ['webtransport', expected], websocket: ['websocket', expected], http: ['http', expected], video: [[0], sha256(clip)] })
    assert.equal(stderr, '')

    const examples = (await readdir(join(ROOT, 'client/examples'))).filter(name => name.endsWith('.mjs'))
    // Those of pages run in `test/e2e/players.test.ts`.
    const pages = await readdir(join(ROOT, 'client/examples/pages'))
    const docs = await readFile(join(ROOT, 'docs/client.md'), 'utf8')
    const said: Record<string, string> = {}
    for (const name of examples) {
      const text = await readFile(join(ROOT, 'client/examples', name), 'utf8')
      assert.ok(docs.includes(`\`\`\`js\n${text}\`\`\``), `docs/client.md shows ${name}`)
      await writeFile(join(project, name), text)
      said[name] = (await run(process.execPath, [name, relay.viewerUrl, `icn://${cid}`, DEMO_PUBLIC_KEY], { cwd: project })).stdout
    }
    for (const name of pages) assert.ok(docs.includes(`\`\`\`js\n${await readFile(join(ROOT, 'client/examples/pages', name), 'utf8')}\`\`\``), `docs/client.md shows ${name}`)
    assert.equal(docs.match(/^```js$/gm)?.length, examples.length + pages.length, 'every example of the page is a file')
    assert.deepEqual(said, {
      'errors.mjs': 'status 404 RELAY_ERR_SHARD_NOT_FOUND false\n',
      'fetch.mjs': `206 ${TYPE}\n1000 bytes, bytes ${clip.length - 1000}-${clip.length - 1}/${clip.length}\n`,
      'priorities.mjs': 'urgent: 10000 bytes, hit true true\nbackground: 100000 bytes, hit true true\nnormal: 100000 bytes, memory true true\n',
      'read.mjs': `${cid}: ${clip.length} bytes of ${TYPE}\nit begins with 1000 bytes\n${clip.length} bytes streamed\n`,
      'tokens.mjs': `${clip.length} bytes, signed\n`
    })
  })
})

test('the types are whole, for a page without the types of Node, and for Node', { timeout: 240_000 }, async () => {
  await writeFile(join(project, 'page.ts'), "import { connect, type ShardResult } from 'icn-relay-client'\nimport { connect as files, type FileClient } from 'icn-relay-client/files'\nimport { extendDash } from 'icn-relay-client/dash'\nimport { hlsLoader } from 'icn-relay-client/hls'\nimport { registerIcn } from 'icn-relay-client/shaka'\nexport const players = [extendDash, hlsLoader, registerIcn]\nexport const client = async (): Promise<FileClient> => await files([location.origin])\nexport const response = async (): Promise<Response> => await (await client()).fetch('icn://a')\nexport const stream = async (): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> => (await (await client()).open('icn://a')).stream()\nexport const shard = async (): Promise<ShardResult> => await (await connect(location.origin)).fetchShard('a', 1)\n")
  await writeFile(join(project, 'node.ts'), "import { connect, dialHttp3, type ShardResult } from 'icn-relay-client'\nimport { connect as files, type FileClient } from 'icn-relay-client/files'\nexport const client = async (): Promise<FileClient> => await files(['a'])\nexport const shard = async (): Promise<ShardResult> => await (await connect(String(dialHttp3))).fetchShard('a', 1)\n")
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const options = ['--noEmit', '--strict', '--target', 'es2023']
  await run(process.execPath, [tsc, ...options, '--module', 'esnext', '--moduleResolution', 'bundler', '--customConditions', 'browser', '--lib', 'es2023,dom', 'page.ts'], { cwd: project })
  await run(process.execPath, [tsc, ...options, '--module', 'nodenext', '--typeRoots', join(ROOT, 'node_modules/@types'), '--types', 'node', 'node.ts'], { cwd: project })
})
