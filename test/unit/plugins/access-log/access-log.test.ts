import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { defaultConfig } from '../../../../src/config/config.ts'
import { TOGETHER_MS } from '../../../../src/base/log-sink.ts'
import type { AppendFiles } from '../../../../src/plugins/access-log/access-file.ts'
import { AccessLog, type AccessLogKeys } from '../../../../src/plugins/access-log/access-log.ts'
import { BEHIND_BYTES, MAX_LISTENERS } from '../../../../src/plugins/access-log/record-stream.ts'
import type { StreamFilter } from '../../../../src/plugins/access-log/record-filter.ts'
import { virtualTimers } from '../../../fakes/timers.ts'
import { ACCESS_RECORD } from '../../../support/access-record.ts'

/** Files in memory, and how their disk is. */
class Disk implements AppendFiles {
  readonly files = new Map<string, string>()
  readonly #open = new Map<number, string>()
  /** What every write fails with. */
  failure: string | undefined
  /** Writes wait here while it is set. */
  held: (() => void)[] | undefined
  opens = 0

  get descriptors (): number { return this.#open.size }

  /** As logrotate does. */
  rename (from: string, to: string): void {
    this.files.set(to, this.files.get(from) ?? '')
    this.files.delete(from)
    for (const [fd, path] of this.#open) if (path === from) this.#open.set(fd, to)
  }

  async open (path: string): Promise<number> {
    if (this.failure === 'EACCES') throw Object.assign(new Error('no'), { code: 'EACCES' })
    this.files.set(path, this.files.get(path) ?? '')
    this.#open.set(++this.opens, path)
    return this.opens
  }

  write = (fd: number, bytes: Buffer, done: (error: Error | null, written: number) => void): void => {
    const settle = (): void => {
      const path = this.#open.get(fd)
      if (path === undefined) return done(Object.assign(new Error('closed'), { code: 'EBADF' }), 0)
      if (this.failure !== undefined) return done(Object.assign(new Error('full'), { code: this.failure }), 0)
      this.files.set(path, (this.files.get(path) ?? '') + bytes.toString())
      done(null, bytes.length)
    }
    if (this.held === undefined) setImmediate(settle)
    else this.held.push(settle)
  }

  close (fd: number): void { this.#open.delete(fd) }
}

async function setUp (keys: Partial<AccessLogKeys> = {}) {
  const lines: string[] = []
  const said: unknown[] = []
  const disk = new Disk()
  const timers = virtualTimers()
  const log = await AccessLog.open({ ...defaultConfig().access_log, ...keys }, {
    output: line => { lines.push(line) },
    addressKey: Buffer.alloc(32),
    logger: { info: (...args: unknown[]) => { said.push(args) }, warn: (...args: unknown[]) => { said.push(args) } },
    timers,
    now: () => 0,
    random: () => 0.5,
    files: disk
  })
  return { log, lines, said, disk, timers }
}

const turn = async (): Promise<void> => { await new Promise(resolve => { setImmediate(resolve) }) }

suite('the access log', () => {
  test('writes what its gates want, as lines of standard output, and counts what they leave out', async () => {
    const { log, lines, said, timers } = await setUp({ sample_hits: 0.4 })
    const gate = log.gate()
    assert.deepEqual([gate.writes('hit', false), gate.writes('miss', false)], [false, true])
    log.take(ACCESS_RECORD, true)
    log.take(ACCESS_RECORD, false)
    assert.deepEqual([lines.length, log.lines, lines[0]?.endsWith('}\n')], [1, 1, true])
    log.change({ sampleHits: 0.6, sampleMisses: 1, scrapes: false })
    assert.ok(gate.writes('hit', false), 'from the next on')
    for (let n = 0; n < 100; n++) gate.writes('other', true)
    await timers.pass(1_000)
    assert.deepEqual([log.dropped.budget, said.length], [50, 1])
  })

  test('writes nothing when it is off', async () => {
    const { log, lines, disk } = await setUp({ enabled: false, path: '/log' })
    log.take(ACCESS_RECORD, true)
    assert.deepEqual([lines.length, disk.opens, log.gate().closed], [0, 0, true])
  })

  test('a rotated file: what is under way goes into the old one, the rest into the new one, and one is open', async () => {
    const { log, disk, timers } = await setUp({ path: '/log', format: 'template', template: '{status}' })
    disk.held = []
    log.take(ACCESS_RECORD, true)
    await timers.pass(TOGETHER_MS)
    disk.rename('/log', '/log.1')
    await log.reopen()
    log.take({ ...ACCESS_RECORD, status: 404 }, true)
    assert.equal(disk.descriptors, 2)
    const [first] = disk.held.splice(0)
    first?.()
    assert.equal(disk.descriptors, 1)
    await timers.pass(TOGETHER_MS)
    for (const settle of disk.held.splice(0)) settle()
    assert.deepEqual([...disk.files], [['/log.1', '206\n'], ['/log', '404\n']])
    await log.close()
    log.take(ACCESS_RECORD, true)
    assert.deepEqual([disk.descriptors, disk.held.length], [0, 0], 'nothing is written to a descriptor that may be somebody else\'s')
  })

  test('a path that cannot be opened anew leaves the file of before, one that cannot be opened at all ends the start', async () => {
    const { log, disk, said } = await setUp({ path: '/log' })
    disk.failure = 'EACCES'
    await log.reopen()
    assert.deepEqual([said.length, disk.descriptors], [1, 1])
    await assert.rejects(AccessLog.open({ ...defaultConfig().access_log, path: '/log' }, { output: () => {}, addressKey: Buffer.alloc(1), logger: { info: () => {}, warn: () => {} }, timers: virtualTimers(), now: () => 0, random: () => 0, files: disk }), { code: 'RELAY_ERR_CONFIG', message: /access_log.path \/log cannot be opened: EACCES/ })
  })

  test('a full disk drops and counts, in bounded memory, and the log is there again with the disk', async () => {
    const { log, disk, timers } = await setUp({ path: '/log' })
    const settle = async (): Promise<void> => {
      do {
        await timers.pass(TOGETHER_MS)
        await turn()
      } while (log.writing)
    }
    disk.failure = 'ENOSPC'
    log.take(ACCESS_RECORD, true)
    await settle()
    assert.equal(log.dropped.file, 1)
    disk.held = []
    for (let n = 0; n < 10_000; n++) log.take(ACCESS_RECORD, true)
    const { file } = log.dropped
    assert.ok(file > 5_000 && file < 10_000, `${file} dropped of a disk that takes nothing`)
    disk.failure = undefined
    const held = disk.held.splice(0)
    disk.held = undefined
    for (const done of held) done()
    await settle()
    log.take({ ...ACCESS_RECORD, reqId: 'last' }, true)
    await settle()
    const lines = (disk.files.get('/log') ?? '').trimEnd().split('\n').map(line => JSON.parse(line) as { msg: string, reqId?: string, dropped?: number })
    assert.equal(lines.at(-1)?.reqId, 'last')
    assert.equal(lines.reduce((sum, { dropped = 0 }) => sum + dropped, 0), log.dropped.file)
    assert.equal(lines.filter(({ msg }) => msg === 'request').length + log.dropped.file, 10_002)
  })
})

suite('those who watch the access log', () => {
  const read = (stream: { read (): Buffer | null }): string => {
    let text = ''
    for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) text += chunk.toString()
    return text
  }

  test('see every record that they want, written or not, and only while they watch does anybody send them', async () => {
    const { log, lines } = await setUp({ enabled: false })
    const gate = log.gate()
    assert.ok(gate.closed)
    const stream = log.stream.listen({})
    assert.equal(read(stream), ':\n\n', 'so that the answer begins')
    assert.deepEqual([gate.closed, gate.settings.watched], [false, true])
    log.take(ACCESS_RECORD, false)
    assert.match(read(stream), /^id: 1\nevent: request\ndata: \{"time".*"reqId":"r-1".*\}\n\n$/)
    stream.destroy()
    await turn()
    assert.deepEqual([gate.closed, log.stream.listeners, lines.length], [true, 0, 0])
  })

  test('by object, address, status and duration', async () => {
    const { log } = await setUp({ addresses: 'prefix' })
    const cases: [StreamFilter, boolean][] = [
      [{}, true], [{ object: 'QmA' }, true], [{ object: 'QmA/3' }, true], [{ object: 'QmA/4' }, false], [{ object: 'Qm' }, false], [{ object: 'QmA/' }, false],
      [{ address: '192.0.2.1' }, true], [{ address: '::ffff:192.0.2.1' }, true], [{ address: '192.0.2.0' }, true], [{ address: '192.0.2.2' }, false],
      [{ status: '206' }, true], [{ status: '2xx' }, true], [{ status: '200' }, false], [{ status: '4xx' }, false],
      [{ slowerThanMs: 4 }, true], [{ slowerThanMs: 5 }, false], [{ object: 'QmA', status: '2xx', slowerThanMs: 5 }, false]
    ]
    for (const [filter, wanted] of cases) {
      const stream = log.stream.listen(filter)
      log.take(ACCESS_RECORD, false)
      assert.equal(read(stream).includes('r-1'), wanted, JSON.stringify(filter))
      stream.destroy()
      await turn()
    }
  })

  test('whoever does not read loses records, holds bounded memory, and is told how many where they are missing', async () => {
    const { log } = await setUp()
    const stream = log.stream.listen({})
    for (let n = 0; n < 5_000; n++) log.take(ACCESS_RECORD, false)
    assert.ok(stream.readableLength < BEHIND_BYTES + 2_000, `${stream.readableLength} bytes`)
    const got = read(stream).split('event: request').length - 1
    assert.ok(got > 100)
    assert.equal(log.dropped.listener, 5_000 - got)
    log.missed(7)
    log.take({ ...ACCESS_RECORD, reqId: 'after' }, false)
    assert.match(read(stream), new RegExp(`^id: \\d+\\nevent: lost\\ndata: \\{"records":${5_000 - got + 7}\\}\\n\\nid: \\d+\\nevent: request\\ndata: .*"after"`))
    assert.equal(log.dropped.gateway, 7)
  })

  test('so many watch and no more; with the relay all end', async () => {
    const { log } = await setUp()
    const streams = Array.from({ length: MAX_LISTENERS }, () => log.stream.listen({}))
    assert.throws(() => log.stream.listen({}), { code: 'RELAY_ERR_EVENTS_BUSY' })
    await log.close()
    assert.ok(streams.every(stream => stream.destroyed))
    assert.throws(() => log.stream.listen({}), { code: 'RELAY_ERR_STOPPING' })
  })
})
