/** WebTransport clients that are not browsers: Deno's, which knows nothing of us, and our own for Node with a private authority. */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { startBrowserRig } from '../support/browser-rig.ts'
import { shard } from '../support/viewer-page.ts'

const run = promisify(execFile)
const support = (name: string): string => fileURLToPath(new URL(`../support/${name}`, import.meta.url))

/** Deno's launcher from npm; undefined where the package is not installed. */
function denoLauncher (): string | undefined {
  try {
    return createRequire(import.meta.url).resolve('deno/bin.cjs')
  } catch {
    return undefined
  }
}
const deno = denoLauncher()

test('Deno reads hello from the control stream and a shard from a stream', { timeout: 300_000, skip: deno === undefined ? 'optional package deno is not installed' : false }, async t => {
  const { relay, truth } = await startBrowserRig(t)
  const path = shard('syn-1000003-deno', 4)
  const { stdout } = await run(process.execPath, [deno ?? '', 'run', '--no-config', '--unstable-net', '--allow-net', support('deno-viewer.mjs'), relay.viewerUrl, path], {
    cwd: await temporaryDirectory(t),
    env: { ...process.env, DENO_NO_UPDATE_CHECK: '1', DENO_DIR: await temporaryDirectory(t) }
  })
  const { hello, ...answer } = JSON.parse(stdout) as { hello: Record<string, unknown>, status: number, bytes: number, sha256: string }
  assert.deepEqual(answer, { status: 200, bytes: 1_000_003, sha256: await truth(path) })
  assert.deepEqual([hello['type'], hello['region']], ['hello', 'NA-WEST'])
})

/** A private authority, and a certificate for localhost and 127.0.0.1 that it vouches for: paths of PEM files. */
async function privateAuthority (t: TestContext): Promise<{ ca: string, cert: string, key: string }> {
  const directory = await temporaryDirectory(t)
  const file = (name: string): string => join(directory, name)
  const openssl = (...args: string[]): void => { execFileSync('openssl', args, { stdio: 'ignore' }) }
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...key, '-days', '30', '-keyout', file('ca.key'), '-out', file('ca.pem'), '-subj', '/CN=A private authority', '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign')
  openssl('req', ...key, '-keyout', file('key.pem'), '-out', file('request.pem'), '-subj', '/CN=localhost')
  writeFileSync(file('extensions'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n')
  openssl('x509', '-req', '-in', file('request.pem'), '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '12', '-extfile', file('extensions'), '-out', file('cert.pem'))
  assert.match(readFileSync(file('cert.pem'), 'utf8'), /BEGIN CERTIFICATE/)
  return { ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem') }
}

test('a private authority in NODE_EXTRA_CA_CERTS vouches for discovery and for WebTransport; without it both fail and say why', { timeout: 300_000 }, async t => {
  const { ca, cert, key } = await privateAuthority(t)
  const { relay, truth } = await startBrowserRig(t, { tls: { cert, key } }, ca)
  const url = relay.viewerUrl.replace('http:', 'https:')
  const path = shard('syn-100003-private', 5)
  const ask = async (env: Record<string, string>, ...more: string[]): Promise<unknown> => {
    const { NODE_EXTRA_CA_CERTS: _extra, ...rest } = process.env
    const { stdout } = await run(process.execPath, ['--import', 'tsx', support('node-viewer.ts'), url, path, ...more], { env: { ...rest, ...env }, cwd: fileURLToPath(new URL('../../', import.meta.url)) })
    return JSON.parse(stdout) as unknown
  }
  assert.deepEqual(await ask({ NODE_EXTRA_CA_CERTS: ca }), { transport: 'webtransport', failures: [], bytes: 100_003, sha256: await truth(path) })
  const refused = await ask({}) as { error: string }
  assert.match(refused.error, /cannot be reached: .*(?:self.signed|unable to|certificate)/i)
  // Discovery is let through, so that the engine has to judge the certificate by itself.
  const engine = await ask({ NODE_TLS_REJECT_UNAUTHORIZED: '0' }) as { error: string }
  assert.match(engine.error, /webtransport: .*(?:UnknownIssuer|certificate)/i)
})
