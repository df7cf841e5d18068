import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import test from 'node:test'
import { inspect } from 'node:util'
import { serialize } from 'node:v8'
import fc from 'fast-check'
import { Channel, MAX_MESSAGE_BYTES } from '../../../src/channel/channel.ts'

/** One end of a channel whose other end is bytes: what it wrote, call by call, and what it is given to read. */
class Wire extends Duplex {
  readonly calls: Buffer[] = []
  override _read (): void {}
  override _writev (chunks: { chunk: Buffer }[], done: () => void): void {
    this.calls.push(Buffer.concat(chunks.map(({ chunk }) => chunk)))
    done()
  }
}

interface End { readonly channel: Channel, readonly wire: Wire, readonly heard: unknown[], readonly broken: string[], readonly closed: () => number }

function end (): End {
  const wire = new Wire()
  const heard: unknown[] = []
  const broken: string[] = []
  let closed = 0
  const channel = new Channel(wire, { message: value => { heard.push(value) }, broken: detail => { broken.push(detail) }, closed: () => { closed++ } })
  return { channel, wire, heard, broken, closed: () => closed }
}

const turn = async (): Promise<void> => { await new Promise(resolve => { setImmediate(() => { setImmediate(resolve) }) }) }

const framed = (bytes: Buffer): Buffer => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length)
  return Buffer.concat([head, bytes])
}

const value = fc.oneof(fc.record({ type: fc.string({ unit: 'binary' }), id: fc.nat(), info: fc.option(fc.dictionary(fc.string(), fc.double())) }), fc.uint8Array({ maxLength: 2_000 }), fc.array(fc.integer()))

test('every message arrives whole and in order, however the bytes are cut', async () => {
  await fc.assert(fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 20 }), fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }), async (values, cuts) => {
    const from = end()
    for (const one of values) from.channel.send(one)
    await turn()
    const bytes = Buffer.concat(from.wire.calls)
    const to = end()
    for (let at = 0, cut = 0; at < bytes.length; cut++) {
      const length = cuts[cut % cuts.length] ?? 1
      to.wire.push(bytes.subarray(at, at + length))
      at += length
    }
    await turn()
    assert.deepEqual(to.heard.map(one => one instanceof Uint8Array ? new Uint8Array(one) : one), values.map(one => structuredClone(one)))
    assert.deepEqual(to.broken, [])
  }), { numRuns: 100 })
})

test('what is said in one turn is written in one call, and what can wait goes before it', async () => {
  const { channel, wire } = end()
  channel.sendSoon('first')
  assert.equal(wire.calls.length, 0)
  let sent = 0
  for (let n = 0; n < 50; n++) channel.send({ n }, () => { sent++ })
  await turn()
  assert.equal(wire.calls.length, 1)
  assert.equal(sent, 50)
  const other = end()
  other.wire.push(wire.calls[0])
  await turn()
  assert.deepEqual(other.heard, ['first', ...Array.from({ length: 50 }, (_, n) => ({ n }))])
})

test('what can wait goes alone after a moment, and no more than 256 messages of it wait', async () => {
  const alone = end()
  alone.channel.sendSoon('alone')
  while (alone.wire.calls.length === 0) await turn()
  assert.equal(alone.wire.calls.length, 1)
  const many = end()
  for (let n = 0; n < 256; n++) many.channel.sendSoon(n)
  // Two turns of the loop are less than the moment it waits for otherwise.
  await turn()
  assert.equal(many.wire.calls.length, 1)
})

test('bytes that are not a message break it once: nothing is thrown, kept or heard any more', async () => {
  await fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async noise => {
    const { wire, heard, broken } = end()
    wire.push(framed(serialize('before')))
    wire.push(framed(Buffer.concat([Buffer.from([0xff, 0x0f, 0x00]), noise])))
    wire.push(framed(serialize('after')))
    await turn()
    assert.ok(broken.length === 1 ? heard.length === 1 : heard.length === 3, inspect([broken, heard]))
  }), { numRuns: 200 })
  const { wire, heard, broken } = end()
  const head = Buffer.alloc(4)
  head.writeUInt32BE(MAX_MESSAGE_BYTES + 1)
  wire.push(head)
  await turn()
  assert.deepEqual(broken, [`a message of ${MAX_MESSAGE_BYTES + 1} bytes, ${MAX_MESSAGE_BYTES} are allowed`])
  // More is read and thrown away: it must not fill memory behind a channel that nobody listens to.
  for (let n = 0; n < 8; n++) wire.push(Buffer.alloc(100_000))
  await turn()
  assert.equal(wire.readableLength, 0)
  assert.deepEqual(heard, [])
})

test('a channel that is gone calls back and takes nothing; its end is told once, an error before it is not thrown', async () => {
  const { channel, wire, closed } = end()
  wire.destroy(new Error('reset'))
  await once(wire, 'close').catch(() => {})
  await turn()
  assert.equal(closed(), 1)
  let sent = 0
  channel.send('late', () => { sent++ })
  channel.sendSoon('late')
  channel.end()
  assert.equal(sent, 1)
  assert.equal(wire.calls.length, 0)
})

test('end: what was said before is written', async () => {
  const { channel, wire, closed } = end()
  channel.sendSoon('soon')
  channel.send('last')
  channel.end()
  await once(wire, 'close')
  const other = end()
  other.wire.push(Buffer.concat(wire.calls))
  await turn()
  assert.deepEqual(other.heard, ['soon', 'last'])
  assert.equal(closed(), 1)
})
