import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, readdir, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { connect } from '../../client/src/node.ts'
import { freePort } from '../../tools/harness/ci.ts'
import { gatewayPid } from '../../tools/harness/gateway-process.ts'
import { fetchHashed, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import type { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { buildRelay, spawnSuperNode } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { identity, startAsRoot, WITHOUT_USERS } from '../support/other-users.ts'

/** Accounts that every Debian has. */
const USER = 'daemon'
const GATEWAY_USER = 'nobody'
const CAP_NET_BIND_SERVICE = 1n << 10n

/** The relay's patience with its super-node, as TOML. */
const PATIENCE = Object.entries(PATIENT_UPSTREAM).map(([key, ms]) => `${key} = ${ms}`).join('\n')

const idOf = (name: string): number => Number(execFileSync('id', ['-u', name]))

/** A free TCP port that only root or CAP_NET_BIND_SERVICE may bind. */
async function lowPort (): Promise<number> {
  for (let port = 600; port < 1_024; port++) {
    const server = createServer()
    const free = await new Promise<boolean>(resolve => { server.once('error', () => { resolve(false) }).listen(port, '127.0.0.1', () => { resolve(true) }) })
    if (free) {
      await new Promise(resolve => { server.close(resolve) })
      return port
    }
  }
  throw new Error('no port below 1024 is free')
}

interface Scene extends ManagedProcess {
  readonly directory: string
  readonly adminPort: number
  readonly viewerUrl: string
  readonly relayPid: number
}

async function directoryForAll (t: TestContext): Promise<string> {
  const directory = await temporaryDirectory(t)
  await chmod(directory, 0o755)
  return directory
}

async function relayAs (t: TestContext, users: string, superNode: string, viewerPort: number): Promise<Scene> {
  const directory = await directoryForAll(t)
  const config = join(directory, 'relay.toml')
  const adminPort = await freePort()
  await writeFile(config, `[process]\n${users}\n[viewer]\nhost = "127.0.0.1"\nport = ${viewerPort}\nwebsocket_port = 0\nstop_timeout_ms = 500\n[admin]\nport = ${adminPort}\n[prefetch]\nenabled = false\n[cache]\npath = ${JSON.stringify(join(directory, 'cache'))}\n[upstream]\nsuper_nodes = [{ url = ${JSON.stringify(superNode)}, region = "EU-WEST" }]\n${PATIENCE}\n`)
  const relay = await startAsRoot(t, await buildRelay(t), ['--config', config])
  const { pid } = await relay.waitFor(({ msg }) => msg === 'relay ready')
  return Object.assign(relay, { directory, adminPort, viewerUrl: `http://127.0.0.1:${viewerPort}`, relayPid: Number(pid) })
}

/** Whether somebody can read a file. */
function canRead (uid: number, gid: number, file: string): boolean {
  try {
    execFileSync('setpriv', ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', 'cat', file], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function filesBelow (directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
}

const isGone = async (pid: number): Promise<boolean> => await stat(`/proc/${pid}`).then(() => false, () => true)

/** The gateway, whose parent is whoever started it. */
async function runningGateway (parent: number): Promise<number> {
  return await until(async () => await gatewayPid(parent), pid => pid !== undefined) ?? 0
}

suite('as root the program starts the relay and its gateway as other users', { timeout: 240_000, skip: WITHOUT_USERS }, () => {
  test('ports below 1024, and viewers of every transport; what the gateway may read is cached shards; it is started again, and everything ends when told', async t => {
    const node = await spawnSuperNode(t, 'EU-WEST')
    const relay = await relayAs(t, `user = "${USER}"\ngateway_user = "${GATEWAY_USER}"`, node.url, await lowPort())
    const launcher = relay.child.pid ?? 0
    const gateway = await runningGateway(launcher)
    const [user, gatewayUser] = [idOf(USER), idOf(GATEWAY_USER)]
    const group = (await identity(relay.relayPid)).gid
    assert.deepEqual(await identity(relay.relayPid), { uid: user, gid: group, groups: '', capabilities: CAP_NET_BIND_SERVICE, parent: launcher })
    assert.deepEqual(await identity(gateway), { uid: gatewayUser, gid: group, groups: '', capabilities: CAP_NET_BIND_SERVICE, parent: launcher })

    const path = '/shards/syn-300000-users/shard_0.bin'
    const first = await fetchHashed(relay.viewerUrl + path)
    assert.equal(first.status, 200)
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 60_000 })
    const { bytes } = await client.fetchShard('syn-300000-users', 0)
    assert.equal(sha256(bytes), first.sha256)
    client.close()

    const cache = join(relay.directory, 'cache')
    const shards = await filesBelow(join(cache, 'shards'))
    assert.equal(shards.length, 1)
    for (const file of shards) assert.ok(canRead(gatewayUser, group, file), file)
    const own = (await filesBelow(cache)).filter(file => !file.startsWith(join(cache, 'shards')) && !file.startsWith(join(cache, 'gateway')))
    assert.ok(own.some(file => file.endsWith('.pem')) && own.some(file => file.endsWith('admin-token')), own.join(' '))
    for (const file of own) assert.equal(canRead(gatewayUser, group, file), false, file)
    assert.equal(canRead(gatewayUser, gatewayUser, shards[0] ?? ''), false, 'only members of the group')

    process.kill(gateway, 'SIGKILL')
    await relay.waitFor(({ msg }) => msg === 'gateway ended')
    const second = await until(async () => await gatewayPid(launcher), pid => pid !== undefined && pid !== gateway) ?? 0
    assert.equal((await identity(second)).uid, gatewayUser)
    relay.child.kill('SIGHUP')
    relay.child.kill('SIGTERM')
    await relay.waitFor(({ msg }) => msg === 'stopped')
    assert.deepEqual(await relay.exit, { code: 0, signal: null })
    assert.ok(await isGone(relay.relayPid) && await isGone(second))
  })

  test('without a user of its own the gateway is the relay\'s; whoever loses the launcher ends', async t => {
    const relay = await relayAs(t, `user = "${USER}"`, 'http://127.0.0.1:1', await freePort())
    const gateway = await runningGateway(relay.child.pid ?? 0)
    const user = idOf(USER)
    for (const pid of [relay.relayPid, gateway]) {
      const { uid, groups, capabilities } = await identity(pid)
      assert.deepEqual({ uid, groups, capabilities }, { uid: user, groups: '', capabilities: 0n })
    }
    for (const file of await filesBelow(join(relay.directory, 'cache'))) assert.equal((await stat(file)).mode & 0o077, 0, file)
    relay.child.kill('SIGKILL')
    await until(async () => await isGone(relay.relayPid) && await isGone(gateway), gone => gone)
  })

  test('a relay that is killed ends the program as it ended, and its gateway', async t => {
    const relay = await relayAs(t, `user = "${USER}"`, 'http://127.0.0.1:1', await freePort())
    const gateway = await runningGateway(relay.child.pid ?? 0)
    process.kill(relay.relayPid, 'SIGKILL')
    assert.deepEqual(await relay.exit, { code: null, signal: 'SIGKILL' })
    await until(async () => await isGone(gateway), gone => gone)
  })

  test('a cache that cannot be made is an error', async t => {
    const config = join(await directoryForAll(t), 'relay.toml')
    await writeFile(config, `[process]\nuser = "${USER}"\n[cache]\npath = "/proc/none/cache"\n`)
    const relay = await startAsRoot(t, await buildRelay(t), ['--config', config])
    assert.equal((await relay.exit).code, 1)
    assert.equal(relay.stderr(), 'icn-relay: RELAY_ERR_CACHE_PATH: cache.path /proc/none/cache cannot be made for process.user: ENOENT\n')
  })

  for (const [users, says] of [
    ['user = "no-such-user"', 'process.user "no-such-user" is not a user of this system'],
    ['user = "root"', 'process.user must be another user than root'],
    [`user = "${USER}"\ngateway_user = "${USER}"`, 'process.gateway_user must be another user than process.user']
  ] as const) {
    test(`${users.replace('\n', ', ')} is an error`, async t => {
      const directory = await directoryForAll(t)
      const config = join(directory, 'relay.toml')
      await writeFile(config, `[process]\n${users}\n[cache]\npath = ${JSON.stringify(join(directory, 'cache'))}\n`)
      const relay = await startAsRoot(t, await buildRelay(t), ['--config', config])
      assert.equal((await relay.exit).code, 1)
      assert.equal(relay.stderr(), `icn-relay: RELAY_ERR_CONFIG: ${says}\n`)
    })
  }
})

suite('without another user', { timeout: 240_000, skip: process.platform === 'linux' ? false : 'reads /proc' }, () => {
  test('the gateway is started so that Node lets it read its program and cached shards only', async t => {
    const directory = await directoryForAll(t)
    const config = join(directory, 'relay.toml')
    await writeFile(config, `[viewer]\nhost = "127.0.0.1"\nport = 0\nwebsocket_port = 0\n[admin]\nport = 0\n[cache]\npath = ${JSON.stringify(join(directory, 'cache'))}\n`)
    const relay = await startAsRoot(t, await buildRelay(t), ['--config', config])
    const { pid } = await relay.waitFor(({ msg }) => msg === 'relay ready')
    const args = readFileSync(`/proc/${await runningGateway(Number(pid))}/cmdline`, 'utf8').split('\0')
    assert.ok(args.includes('--experimental-permission') || args.includes('--permission'), args.join(' '))
    const readable = args.flatMap(argument => /^--allow-fs-read=(.*)/.exec(argument)?.[1] ?? []).filter(path => path.startsWith(directory))
    assert.deepEqual(readable, [join(directory, 'cache/shards/'), join(directory, 'cache/engine/')])
    relay.child.kill('SIGTERM')
    assert.equal((await relay.exit).code, 0)
  })
})
