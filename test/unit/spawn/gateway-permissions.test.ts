import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { isInstrumented, permissionArguments } from '../../../src/spawn/permissions.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

const allowed = (args: readonly string[], what: 'read' | 'write'): string[] => {
  const flag = `--allow-fs-${what}=`
  return args.filter(argument => argument.startsWith(flag)).map(argument => argument.slice(flag.length))
}

test('by version of Node: the flag while it was experimental and after, and the network where it is asked for', () => {
  const flags = (version: string): string[] => permissionArguments('/p/dist/gateway/main.js', { shards: '/c/shards', engine: '/c/engine' }, version).filter(argument => /permission|net/.test(argument))
  assert.deepEqual(flags('20.20.2'), ['--experimental-permission'])
  assert.deepEqual(flags('22.12.0'), ['--experimental-permission'])
  assert.deepEqual(flags('22.13.0'), ['--permission'])
  assert.deepEqual(flags('24.1.0'), ['--permission'])
  assert.deepEqual(flags('25.0.0'), ['--permission', '--allow-net'])
})

test('the program, its packages, cached shards and the engine file; nothing for sources, or a path that Node would take for several', () => {
  const args = permissionArguments('/p/dist/gateway/main.js', { shards: '/c/shards', engine: '/c/engine' }, '20.20.2')
  assert.deepEqual(allowed(args, 'read'), ['/p/dist/', '/p/package.json', '/c/shards/', '/c/engine/', '/proc/self/'])
  assert.deepEqual(allowed(args, 'write'), ['/c/engine/'])
  assert.deepEqual(permissionArguments('/p/src/gateway/main.ts', { shards: '/c/shards', engine: '/c/engine' }), [])
  for (const odd of ['/c,d', '/c*']) assert.deepEqual(permissionArguments('/p/dist/gateway/main.js', { shards: `${odd}/shards`, engine: `${odd}/engine` }), [])
})

test('what loads code into every process, or writes profiles, would be kept from it', () => {
  for (const option of ['--import', '--import=tsx', '-r', '--require=x', '--loader', '--experimental-loader=x', '--cpu-prof', '--heap-prof']) assert.equal(isInstrumented(['--enable-source-maps', option]), true, option)
  for (const option of ['--enable-source-maps', '--max-old-space-size=1', '--requires-nothing', '']) assert.equal(isInstrumented([option]), false, option)
})

test('no path that is allowed is the beginning of another, on which Node 20 aborts', () => {
  const path = fc.array(fc.constantFrom('a', 'ab', 'dist', 'cache'), { minLength: 1, maxLength: 5 }).map(parts => `/${parts.join('/')}`)
  fc.assert(fc.property(path, path, path, (root, shards, engine) => {
    const args = permissionArguments(`${root}/dist/gateway/main.js`, { shards, engine }, '20.20.2')
    const read = allowed(args, 'read')
    for (const one of read) assert.ok(!read.some(other => other !== one && other.startsWith(one)), read.join(' '))
    for (const needed of [`${root}/dist/x`, `${shards}/x`, `${engine}/x`]) assert.ok(read.some(one => needed.startsWith(one)), needed)
  }))
})

test('Node keeps a program that is started so from the keys of the relay, from writing shards and from starting processes', { timeout: 240_000 }, async t => {
  const directory = await temporaryDirectory(t)
  for (const name of ['dist/gateway', 'cache/shards', 'cache/engine', 'cache/tls']) await mkdir(join(directory, name), { recursive: true })
  const entry = join(directory, 'dist/gateway/main.js')
  await writeFile(join(directory, 'package.json'), '{"type":"module"}')
  await writeFile(join(directory, 'cache/tls/current.pem'), 'key')
  await writeFile(join(directory, 'cache/shards/0.bin'), 'shard')
  await writeFile(entry, `import { readFileSync, writeFileSync, readdirSync } from 'node:fs'
    import { spawnSync } from 'node:child_process'
    const tried = work => { try { work(); return 'done' } catch (error) { return error.code } }
    process.stdout.write([
      tried(() => readFileSync('cache/tls/current.pem')), tried(() => readdirSync('cache')), tried(() => writeFileSync('cache/shards/1.bin', '')), tried(() => spawnSync('true')),
      tried(() => readFileSync('cache/shards/0.bin')), tried(() => writeFileSync('cache/engine/copy', ''))
    ].join(' '))`)
  const args = permissionArguments(entry, { shards: join(directory, 'cache/shards'), engine: join(directory, 'cache/engine') })
  const { stdout, stderr, status } = spawnSync(process.execPath, [...args, entry], { cwd: directory, encoding: 'utf8' })
  assert.deepEqual({ stdout, stderr, status }, { stdout: `${'ERR_ACCESS_DENIED '.repeat(4)}done done`, stderr: '', status: 0 })
})
