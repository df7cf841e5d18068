/** JWTs over real WebTransport sessions, in a relay and a gateway process of their own, and the commands that make credentials. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { hashedToken } from '../../src/admission/static-tokens.ts'
import { connect, ShardClientError } from '../../client/src/node.ts'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { openSession } from '../../tools/harness/quinn-rig.ts'
import { keyPair, makeJwt, SECRET, type KeyPair } from '../support/jwt.ts'
import { SERVER, runToEnd, spawnRelay, type Ended, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const MINE = 'syn-20000-mine'
const OTHER = 'syn-20000-other'
const LIMIT = { timeout: 240_000 }

const now = (): number => Math.floor(Date.now() / 1_000)

/** A relay that takes EdDSA and, by its environment, HS256 tokens without any tolerance. */
async function startGuarded (t: TestContext): Promise<{ relay: SpawnedRelay, key: KeyPair }> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const key = keyPair('EdDSA')
  const file = join(await temporaryDirectory(t), 'key.pem')
  await writeFile(file, key.pem)
  const relay = await spawnRelay(t, [origin], { auth: { require: true }, transport: { engine: 'quinn' }, upstream: PATIENT_UPSTREAM }, undefined, {
    env: { ICN_RELAY_AUTH_JWT_PUBLIC_KEY_FILES: JSON.stringify([file]), ICN_RELAY_AUTH_JWT_HS256_SECRET: SECRET, ICN_RELAY_AUTH_JWT_CLOCK_TOLERANCE_MS: '0' }
  })
  return { relay, key }
}

async function dial (t: TestContext, { viewerUrl }: SpawnedRelay, token: string): Promise<TransportSession> {
  const session = await openSession(viewerUrl, { query: `token=${token}` })
  t.after(() => { session.close() })
  return session
}

interface Answer { readonly status: number, readonly head: string, readonly body: string }

async function ask (session: TransportSession, cid: string): Promise<Answer> {
  const stream = await session.openBidi()
  await stream.write(Buffer.from(`GET /shards/${cid}/shard_1.bin HTTP/1.1\r\n\r\n`))
  await stream.end()
  const parts: Uint8Array[] = []
  for (let part = await stream.read(); part !== null; part = await stream.read()) parts.push(part)
  const text = Buffer.concat(parts).toString('latin1')
  const [head = ''] = text.split('\r\n\r\n', 1)
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]), head, body: text.slice(head.length + 4) }
}

const codeOf = ({ body }: Answer): string => (JSON.parse(body) as { code: string }).code

test('a JWT for one CID gets 200 for it and 403 for another, over WebTransport, per request and per session', LIMIT, async t => {
  const { relay, key } = await startGuarded(t)
  for (const signer of [key, SECRET]) {
    const token = await makeJwt({ cid: MINE, exp: now() + 600 }, signer)
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'], token, connectTimeoutMs: 20_000 })
    t.after(() => { client.close() })
    assert.equal(sha256((await client.fetchShard(MINE, 0)).bytes), sha256(syntheticShard(MINE, 0)))
    await assert.rejects(client.fetchShard(OTHER, 0), { status: 403, code: 'RELAY_ERR_VIEWER_SCOPE' })
    const session = await dial(t, relay, token)
    assert.equal((await ask(session, MINE)).status, 200)
    const foreign = await ask(session, OTHER)
    assert.deepEqual([foreign.status, codeOf(foreign)], [403, 'RELAY_ERR_VIEWER_SCOPE'])
    assert.match(foreign.head, /^HTTP\/1\.1 403 Forbidden\r\n/)
    assert.match(foreign.head, /\r\ncontent-type: application\/problem\+json\r\n/)
    assert.match(foreign.head, /\r\nwww-authenticate: Bearer error="insufficient_scope", error_description="[^"]+"(?:\r\n|$)/)
    assert.equal((await ask(session, MINE)).status, 200, 'a refusal ends no session')
  }
  for (const token of [await makeJwt({ exp: now() - 1 }, key), await makeJwt({ exp: now() + 600, nbf: now() + 300 }, key), await makeJwt({ exp: now() + 600 }, keyPair('EdDSA'))]) {
    await assert.rejects(dial(t, relay, token), { name: 'ConnectError' })
  }
})

test('a session whose token expires is refused from then on, request by request', LIMIT, async t => {
  const { relay, key } = await startGuarded(t)
  /** A session that was served while its token was valid, however slow the machine is today. */
  const served = async (seconds: number): Promise<{ session: TransportSession, client: Awaited<ReturnType<typeof connect>> }> => {
    const token = await makeJwt({ cid: MINE, exp: now() + seconds }, key)
    try {
      const [session, client] = [await dial(t, relay, token), await connect(relay.viewerUrl, { transports: ['webtransport'], token, connectTimeoutMs: 20_000 })]
      t.after(() => { client.close() })
      const answers = [(await ask(session, MINE)).status, await client.fetchShard(MINE, 0).then(({ status }) => status, () => 0)]
      if (answers.every(status => status === 200)) return { session, client }
    } catch (error) {
      assert.equal((error as { status?: number }).status, 401)
    }
    return await served(seconds * 2)
  }
  const { session, client } = await served(3)
  const late = await until(async () => await ask(session, MINE), ({ status }) => status !== 200)
  assert.deepEqual([late.status, codeOf(late)], [401, 'RELAY_ERR_VIEWER_TOKEN_EXPIRED'])
  assert.match(late.head, /\r\nwww-authenticate: Bearer error="invalid_token", error_description="the token has expired"/)
  await assert.rejects(client.fetchShard(MINE, 0), (error: unknown) => error instanceof ShardClientError && error.unauthorized && error.code === 'RELAY_ERR_VIEWER_TOKEN_EXPIRED')
})

test('secrets are in neither the arguments nor the environment of the gateway process', { ...LIMIT, skip: process.platform === 'linux' ? false : 'reads /proc' }, async t => {
  const { relay } = await startGuarded(t)
  const children = (await readFile(`/proc/${relay.pid}/task/${relay.pid}/children`, 'utf8')).trim().split(' ').filter(pid => pid !== '')
  const processes = await Promise.all(children.map(async pid => [await readFile(`/proc/${pid}/cmdline`, 'utf8'), await readFile(`/proc/${pid}/environ`, 'utf8')] as const))
  assert.ok(processes.some(([command]) => command.includes('gateway')), 'no gateway among the children')
  for (const text of processes.flat()) assert.ok(!text.includes(SECRET) && !text.includes(Buffer.from(SECRET).toString('base64')) && !text.includes('ICN_RELAY_'))
})

const run = async (args: readonly string[], input = ''): Promise<Ended> => await runToEnd(SERVER, args, input)

test('the commands: a token is hashed, a URL is signed, key files are validated', LIMIT, async t => {
  const directory = await temporaryDirectory(t)
  const config = join(directory, 'relay.toml')
  await writeFile(join(directory, 'url-key'), 'u'.repeat(40))
  await writeFile(config, `[auth.signed_urls]\nkeys = [{ kid = "a", secret_file = ${JSON.stringify(join(directory, 'url-key'))} }]\n`)
  assert.deepEqual(await run(['--hash-token'], 'correct-horse-battery\n'), { code: 0, stdout: `${hashedToken('correct-horse-battery')}\n`, stderr: '' })
  const refused = await run(['--hash-token', 'correct-horse-battery'])
  assert.deepEqual([refused.code, refused.stdout, refused.stderr], [1, '', 'icn-relay: RELAY_ERR_CONFIG: command line: --hash-token takes no argument: it reads the token from standard input; see --help\n'])
  const signed = await run(['--sign-url', `/shards/${MINE}/shard_0.bin`, '--expires-in', '60', '--config', config])
  assert.match(signed.stdout, /^\/shards\/syn-20000-mine\/shard_0\.bin\?exp=\d+&kid=a&sig=[A-Za-z0-9_-]{43}\n$/)
  assert.deepEqual(await run(['--validate', '--config', config]), { code: 0, stdout: 'configuration ok\n', stderr: '' })
  await writeFile(config, '[auth.jwt]\njwks_file = "/nowhere/jwks.json"\n')
  assert.deepEqual(await run(['--validate', '--config', config]), { code: 1, stdout: '', stderr: 'icn-relay: RELAY_ERR_CONFIG: auth.jwt.jwks_file /nowhere/jwks.json cannot be read: ENOENT\n' })
})
