import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { freePort } from '../../tools/harness/ci.ts'
import { SERVER, spawnProgram, spawnRelay } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  /** Lines of standard error. */
  readonly stderr: string[]
}

/** Runs the relay until it ends by itself. */
async function run (t: TestContext, args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const relay = spawnProgram(t, SERVER, args, env)
  let stdout = ''
  relay.child.stdout?.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  const { code } = await relay.exit
  return { code, stdout, stderr: relay.stderr().split('\n').filter(line => line !== '') }
}

async function fileWith (t: TestContext, text: string): Promise<string> {
  const file = join(await temporaryDirectory(t), 'relay.toml')
  await writeFile(file, text)
  return file
}

async function refused (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return await once(socket, 'connect').then(() => { socket.destroy(); return false }, () => true)
}

suite('a relay that cannot start says why in one line, listens nowhere and exits with 1', { concurrency: 2, timeout: 240_000 }, () => {
  /** Runs a relay on two free ports that is expected to fail. */
  async function fails (t: TestContext, toml: (ports: { viewer: number, admin: number, directory: string }) => string): Promise<string> {
    const [viewer, admin] = [await freePort(), await freePort()]
    const directory = await temporaryDirectory(t)
    const { code, stdout, stderr } = await run(t, ['--config', await fileWith(t, toml({ viewer, admin, directory }))])
    assert.equal(code, 1)
    assert.equal(stderr.length, 1, stderr.join('\n'))
    assert.doesNotMatch(stdout, /relay ready/)
    assert.ok(await refused(viewer))
    assert.ok(await refused(admin))
    return stderr[0] ?? ''
  }

  const listeners = ({ viewer, admin }: { viewer: number, admin: number }): string => `[viewer]\nhost = "127.0.0.1"\nport = ${viewer}\n[admin]\nport = ${admin}\n[log]\nlevel = "silent"\n`

  test('unknown key', async t => {
    assert.equal(await fails(t, ports => `${listeners(ports)}[cache]\nsize = 1\n`), 'icn-relay: RELAY_ERR_CONFIG: unknown key cache.size')
  })

  test('bad TOML', async t => {
    assert.match(await fails(t, ports => `${listeners(ports)}[cache\n`), /^icn-relay: RELAY_ERR_CONFIG: .*relay\.toml: line 8: /)
  })

  test('cache path below a regular file', async t => {
    assert.match(await fails(t, ports => `${listeners(ports)}[cache]\npath = "/etc/passwd/cache"\n`), /^icn-relay: RELAY_ERR_CACHE_PATH: cache\.path \/etc\/passwd\/cache cannot be written: ENOTDIR$/)
  })

  for (const listener of ['viewer', 'admin'] as const) {
    test(`${listener} port in use`, async t => {
      const holder = createServer().listen(0, '127.0.0.1')
      await once(holder, 'listening')
      t.after(() => { holder.close() })
      const address = holder.address()
      assert.ok(typeof address === 'object' && address !== null)
      const ports = { viewer: await freePort(), admin: await freePort() }
      const directory = await temporaryDirectory(t)
      const taken = { ...ports, [listener]: address.port }
      const { code, stdout, stderr } = await run(t, ['--config', await fileWith(t, listeners(taken)), '--cache-path', join(directory, 'cache')])
      assert.equal(code, 1)
      assert.deepEqual(stderr, [`icn-relay: RELAY_ERR_LISTEN: ${listener}.host 127.0.0.1, ${listener}.port ${address.port} cannot be listened on: EADDRINUSE`])
      assert.doesNotMatch(stdout, /relay ready/)
      assert.ok(await refused(listener === 'viewer' ? ports.admin : ports.viewer))
    })
  }

  test('a cache directory that another relay uses', async t => {
    const directory = join(await temporaryDirectory(t), 'cache')
    const free = async (): Promise<string> => listeners({ viewer: await freePort(), admin: await freePort() }).replace('silent', 'info')
    const first = spawnProgram(t, SERVER, ['--config', await fileWith(t, await free()), '--cache-path', directory])
    await first.waitFor(event => event['msg'] === 'relay ready')
    const second = await run(t, ['--config', await fileWith(t, await free()), '--cache-path', directory])
    assert.equal(second.code, 1)
    assert.deepEqual(second.stderr, [`icn-relay: RELAY_ERR_CACHE_PATH: cache.path ${directory} is in use by another relay process`])
  })

  test('unknown option', async t => {
    const { code, stdout, stderr } = await run(t, ['--prot', '1'])
    assert.deepEqual({ code, stdout, stderr }, { code: 1, stdout: '', stderr: ["icn-relay: RELAY_ERR_CONFIG: command line: Unknown option '--prot'; see --help"] })
  })

  test('unknown variable, also with --validate', async t => {
    const { code, stdout, stderr } = await run(t, ['--validate'], { ICN_RELAY_PROT: '1' })
    assert.deepEqual({ code, stdout, stderr }, { code: 1, stdout: '', stderr: ['icn-relay: RELAY_ERR_CONFIG: environment: ICN_RELAY_PROT is not a configuration key'] })
  })
})

test('a relay without a configured token makes one: the admin API wants it, health and metrics do not, and the next start knows it', { timeout: 240_000 }, async t => {
  const directory = join(await temporaryDirectory(t), 'cache')
  let token = ''
  for (const start of [1, 2]) {
    const relay = await spawnRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: { loopback_without_token: false }, transport: { engine: 'off' } }, directory)
    const made = relay.events.find(({ msg }) => String(msg).startsWith('an admin token was made'))
    assert.equal(relay.events.some(({ msg }) => String(msg).startsWith('the relay runs as root')), process.getuid?.() === 0)
    assert.equal(made?.['file'], start === 1 ? join(directory, 'admin-token') : undefined)
    token = (await readFile(join(directory, 'admin-token'), 'utf8')).trim()
    assert.ok(!JSON.stringify(relay.events).includes(token))
    const status = async (path: string, headers: Record<string, string> = {}): Promise<number> => (await fetch(relay.adminUrl + path, { headers })).status
    assert.deepEqual([await status('/admin/v1/cache'), await status('/admin/v1/cache', { authorization: `Bearer ${token}` })], [401, 200])
    assert.deepEqual([await status('/health'), await status('/metrics')], [200, 200])
    relay.child.kill('SIGTERM')
    await relay.exit
  }
})

suite('questions', { concurrency: 2, timeout: 240_000 }, () => {
  test('--validate answers 0 without touching ports or the cache directory', async t => {
    const directory = join(await temporaryDirectory(t), 'cache')
    const { code, stdout, stderr } = await run(t, ['--validate', '--cache-path', directory])
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'configuration ok\n', stderr: [] })
  })

  test('--help and --version answer also beside a broken configuration', async t => {
    const broken = { ICN_RELAY_CONFIG: '/nowhere.toml' }
    const help = await run(t, ['--help'], broken)
    assert.equal(help.code, 0)
    for (const option of ['--config', '--cache-path', '--region', '--validate', '--help', '--version']) assert.ok(help.stdout.includes(option), option)
    const version = await run(t, ['--version'], broken)
    assert.equal(version.code, 0)
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  })
})
