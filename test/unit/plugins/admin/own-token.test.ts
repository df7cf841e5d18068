import assert from 'node:assert/strict'
import { chmod, chown, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { checkConfig, type Config } from '../../../../src/config/config.ts'
import { TOKEN_FILE, withOwnToken } from '../../../../src/plugins/admin/own-token.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const configOf = (path: string, admin: Record<string, unknown> = {}): Config => checkConfig({ cache: { path }, admin })

async function made (config: Config): Promise<{ token: string, logged: unknown[] }> {
  const logged: unknown[] = []
  const { admin } = await withOwnToken(config, { info: (fields: unknown) => { logged.push(fields) } })
  const [{ token, scope } = {}] = admin.tokens
  assert.deepEqual([admin.tokens.length, scope], [1, 'write'])
  return { token: token ?? '', logged }
}

async function place (t: TestContext): Promise<{ path: string, file: string }> {
  const path = join(await temporaryDirectory(t), 'not', 'yet')
  return { path, file: join(path, TOKEN_FILE) }
}

suite('an admin token of the relay\'s own', () => {
  test('is made once, for nobody else to read, and the log says where it is and not what', async t => {
    const { path, file } = await place(t)
    const { token, logged } = await made(configOf(path))
    assert.match(token, /^[A-Za-z0-9_-]{43}$/)
    assert.equal(await readFile(file, 'utf8'), `${token}\n`)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.deepEqual(logged, [{ file }])
    assert.deepEqual(await made(configOf(path)), { token, logged: [] })
    assert.deepEqual(await readdir(path), [TOKEN_FILE])
    await rm(file)
    assert.notEqual((await made(configOf(path))).token, token)
  })

  test('is one, however many start at the same time', async t => {
    const { path } = await place(t)
    const all = await Promise.all(Array.from({ length: 8 }, async () => await made(configOf(path))))
    assert.equal(new Set(all.map(({ token }) => token)).size, 1)
    assert.deepEqual(await readdir(path), [TOKEN_FILE])
  })

  test('is not made where tokens are configured, or none was chosen', async t => {
    const { path } = await place(t)
    for (const admin of [{ tokens: [{ token: 'a-token-of-enough-length', scope: 'read' }] }, { loopback_without_token: true }]) {
      const config = configOf(path, admin)
      assert.equal(await withOwnToken(config, { info: () => assert.fail('logged') }), config)
    }
    await assert.rejects(stat(path), { code: 'ENOENT' })
  })

  test('is closed to others again, and refused where somebody else may have written it', async t => {
    const { path, file } = await place(t)
    const { token } = await made(configOf(path))
    await chmod(file, 0o644)
    assert.equal((await made(configOf(path))).token, token)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    const harms: (() => Promise<void>)[] = [
      async () => { await writeFile(file, 'short') },
      async () => { await writeFile(file, '') },
      async () => {
        await writeFile(join(path, 'elsewhere'), `${token}\n`)
        await symlink(join(path, 'elsewhere'), file)
      },
      async () => { await mkdir(file) },
      ...process.getuid?.() === 0
        ? [async () => {
            await writeFile(file, `${token}\n`, { mode: 0o600 })
            await chown(file, 65_534, 65_534)
          }]
        : []
    ]
    for (const harm of harms) {
      await rm(file, { recursive: true, force: true })
      await harm()
      await assert.rejects(made(configOf(path)), { code: 'RELAY_ERR_CACHE_PATH', message: `${file} holds no admin token that this relay has made; remove it` })
    }
  })

  test('that cannot be kept stops the start and names what to configure', async () => {
    await assert.rejects(made(configOf('/proc/none')), { code: 'RELAY_ERR_CACHE_PATH', message: /^the admin token cannot be kept in \/proc\/none\/admin-token: ENOENT; configure admin\.tokens or admin\.loopback_without_token$/ })
  })
})
