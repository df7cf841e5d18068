import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { checkDisk, type DiskFacts } from '../../../src/cli/doctor/disk.ts'
import { examine, diagnosesText } from '../../../src/cli/doctor/doctor.ts'
import type { Diagnosis } from '../../../src/cli/doctor/diagnosis.ts'
import { checkMachine, type MachineFacts } from '../../../src/cli/doctor/machine.ts'
import { checkOrigins } from '../../../src/cli/doctor/origins.ts'
import { checkPorts } from '../../../src/cli/doctor/ports.ts'
import { checkConfig } from '../../../src/config/config.ts'
import type { Config } from '../../../src/config/schema.ts'
import { createSelfSigned } from '../../../src/plugins/tls/self-signed.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

const NOW = Date.parse('2026-12-01T12:00:00Z')
const DAY_MS = 86_400_000

/** A super-node whose clock says `now`. */
async function superNode (t: TestContext, now = NOW): Promise<string> {
  const server = createServer((_request, response) => { response.setHeader('date', new Date(now).toUTCString()).end('{}') }).listen(0, '127.0.0.1')
  t.after(() => { server.close() })
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function examined (t: TestContext, sections: Record<string, Record<string, unknown>>, superNodes?: string[]): Promise<Diagnosis[]> {
  const config = checkConfig({
    viewer: { host: '127.0.0.1', port: 0, websocket_port: 0 },
    admin: { port: 0 },
    cache: { path: join(await temporaryDirectory(t), 'cache'), max_bytes: 100_000_000 },
    upstream: { super_nodes: (superNodes ?? [await superNode(t)]).map(url => ({ url, region: 'APAC' })) },
    ...sections
  })
  return await examine(config, { now: () => NOW, running: async () => undefined })
}

const notWell = (findings: readonly Diagnosis[], ...names: string[]): string[] => findings.filter(({ name, level }) => level !== 'ok' && names.includes(name)).map(({ level, says, cure = '' }) => `${level}: ${says} → ${cure}`)

test('a set-up that is well', async t => {
  const findings = await examined(t, {})
  assert.deepEqual(notWell(findings, 'relay', 'configuration', 'disk', 'certificate', 'super-node', 'clock'), [])
  assert.ok(['node', 'memory', 'disk', 'disk speed', 'certificate', 'super-node', 'clock'].every(name => findings.some(finding => finding.name === name)), JSON.stringify(findings))
})

test('six broken set-ups are each named, with what to do', async t => {
  const directory = await temporaryDirectory(t)
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(directory, name), text)
    return join(directory, name)
  }
  const [old, other] = [createSelfSigned([], NOW - 30 * DAY_MS), createSelfSigned([], NOW)]
  const cert = await write('cert.pem', old.cert)

  const taken = createServer().listen(0, '127.0.0.1')
  t.after(() => { taken.close() })
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const [inUse = ''] = notWell(await examined(t, { admin: { port, host: '127.0.0.1' } }), 'admin.port tcp')
  assert.match(inUse, new RegExp(`^fail: 127\\.0\\.0\\.1:${port} cannot be listened on: EADDRINUSE → see who has it \\(ss -lntup\\)`))

  const [noPlace = ''] = notWell(await examined(t, { cache: { path: join(await write('file', ''), 'cache') } }), 'disk')
  assert.match(noPlace, /^fail: nothing can be written below .*file: ENOTDIR → give the directory to the user of the relay/)

  const [ended = ''] = notWell(await examined(t, { tls: { cert, key: await write('key.pem', old.key) } }), 'certificate')
  assert.match(ended, /^fail: .*cert\.pem ended on Nov .* 2026 GMT .* → have it renewed/)

  const [foreign = ''] = notWell(await examined(t, { tls: { cert, key: await write('other.pem', other.key) } }), 'certificate')
  assert.match(foreign, /^fail: key .*other\.pem does not belong to certificate .*cert\.pem .* → correct tls\.cert and tls\.key/)

  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const nobody = `http://127.0.0.1:${(closed.address() as AddressInfo).port}`
  closed.close()
  await once(closed, 'close')
  const [refused = ''] = notWell(await examined(t, {}, [nobody]), 'super-node')
  assert.equal(refused, `fail: ${nobody} does not answer: ECONNREFUSED → nobody listens there: correct the port, or start it`)

  const [wrongClock = ''] = notWell(await examined(t, {}, [await superNode(t, NOW - 300_000), await superNode(t, NOW - 300_000), await superNode(t)]), 'clock')
  assert.match(wrongClock, /^fail: 300 s ahead of the super-nodes → set it by NTP/)

  assert.match(notWell(await examined(t, { auth: { require: true } }), 'configuration')[0] ?? '', /^fail: auth\.require needs auth\.tokens/)
})

const MACHINE: MachineFacts = { node: '24.11.0', descriptors: 65_536, memory: { total: 16e9, free: 8e9 }, kernel: { 'net/core/rmem_max': 8e6, 'net/core/wmem_max': 8e6, 'net/core/somaxconn': 4_096 }, root: false }

test('of the machine, what a busy relay would miss', () => {
  const config = checkConfig({})
  const found = (change: Partial<MachineFacts>, changed: Config = config): string[] => checkMachine(changed, { ...MACHINE, ...change }).filter(({ level }) => level !== 'ok').map(({ name, level }) => `${level} ${name}`)
  assert.deepEqual(found({}), [])
  assert.deepEqual(found({ node: '20.19.1' }), ['warn node'])
  assert.deepEqual(found({ descriptors: 1_024 }), ['warn descriptors'])
  assert.deepEqual(found({ memory: { total: 6e8, free: 6e8 } }), ['warn memory'])
  assert.deepEqual(found({ memory: { total: 1e8, free: 1e8 } }), ['fail memory'])
  assert.deepEqual(found({ root: true }), ['warn user'])
  assert.deepEqual(found({ kernel: { 'net/core/rmem_max': 212_992, 'net/core/somaxconn': 128 } }), ['warn udp buffers', 'warn backlog'])
  // What the system does not tell is no fault.
  assert.deepEqual(found({ kernel: {}, descriptors: undefined }), [])
  assert.deepEqual(found({ kernel: { 'net/core/rmem_max': 212_992 } }, checkConfig({ transport: { engine: 'off' } })), [])
  assert.ok(checkMachine(config, { ...MACHINE, kernel: { 'net/core/rmem_max': 212_992 } }).some(({ cure }) => cure === 'sysctl -w net.core.rmem_max=7500000'))
})

const DISK: DiskFacts = { path: '/srv', size: 2e12, free: 1.5e12, files: 1e8, freeFiles: 9e7, type: 0xef53, syncMs: 3 }

test('of the disk, what a full cache would meet', () => {
  const found = (change: Partial<DiskFacts>, used = 0): string[] => checkDisk(checkConfig({}), { ...DISK, ...change }, used).filter(({ level }) => level !== 'ok').map(({ name, says }) => `${name}: ${says}`)
  assert.deepEqual(found({}), [])
  assert.deepEqual(found({ size: 5e11, free: 4e11 }), ['disk: /srv: 373 GiB for a cache of 1 TiB, of a disk of 466 GiB'])
  assert.match(found({ free: 1e12 })[0] ?? '', /the file system needs some for itself/)
  // What the cache has already is room for it.
  assert.deepEqual(found({ free: 1e12 }, 5e11), [])
  assert.match(found({ freeFiles: 1_000 })[0] ?? '', /^files: 1000 more files fit/)
  assert.deepEqual(found({ files: 0, freeFiles: 0 }), [], 'a file system that does not count them')
  assert.match(found({ type: 0x6969 })[0] ?? '', /^file system: NFS/)
  assert.match(found({ syncMs: 250 })[0] ?? '', /^disk speed: 64 KiB take 250 ms/)
})

test('ports that the running relay has are its own, and a clock is judged by the median of the others', () => {
  const listener = { key: 'viewer.port', protocol: 'tcp', host: '0.0.0.0', port: 9_003, error: 'EADDRINUSE' } as const
  assert.deepEqual(checkPorts([listener], true).map(({ level }) => level), ['ok'])
  assert.deepEqual(checkPorts([listener, { ...listener, error: 'EACCES', port: 80 }], false).map(({ level }) => level), ['fail', 'fail'])
  const clock = (...ahead: (number | undefined)[]): string => checkOrigins(ahead.map(aheadMs => ({ url: 'http://n', status: 200, ms: 1, aheadMs }))).filter(({ name }) => name === 'clock').map(({ level }) => level).join(' ')
  assert.deepEqual([clock(undefined), clock(200), clock(0, 0, 900_000), clock(-5_000, -5_000, 0), clock(-90_000)], ['', 'ok', 'ok', 'warn', 'fail'])
  assert.deepEqual(checkOrigins([{ url: 'http://n', status: 503, ms: 1, aheadMs: undefined }]).map(({ level }) => level), ['warn'])
})

test('findings are lines, those that are not well with what to do', () => {
  assert.equal(diagnosesText([{ name: 'disk', level: 'ok', says: 'large' }, { name: 'clock', level: 'fail', says: 'wrong', cure: 'set it' }]), 'ok    disk   large\nFAIL  clock  wrong\n             → set it\n\n1 well, 0 to look at, 1 to mend\n')
})

test('a relay that runs is not disturbed, and its directory stays as it is', async t => {
  const path = join(await temporaryDirectory(t), 'cache')
  await mkdir(path)
  const config = checkConfig({ cache: { path, max_bytes: 100_000_000 }, viewer: { port: 0, websocket_port: 0 }, admin: { port: 0 }, upstream: { super_nodes: [{ url: await superNode(t), region: 'APAC' }] } })
  const findings = await examine(config, { now: () => NOW, running: async () => 5 })
  assert.equal(findings[0]?.says, 'one of this configuration runs')
})
