import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { LogSink } from '../../../src/base/log-sink.ts'
import { draw } from '../../support/cache.ts'
import { virtualTimers, type VirtualTimers } from '../../fakes/timers.ts'

type Done = (error: Error | null, written: number) => void

function rig (maxWaiting = 100, togetherMs = 0): { sink: LogSink, text: () => string, settle: (fate: number | string) => void, pending: () => number, timers: VirtualTimers } {
  const timers = virtualTimers()
  const taken: Buffer[] = []
  let under: { bytes: Buffer, done: Done } | undefined
  const sink = new LogSink({
    maxWaiting,
    togetherMs,
    timers,
    note: dropped => `(${dropped} dropped)\n`,
    write: (bytes, done) => {
      assert.equal(under, undefined, 'one write at a time')
      under = { bytes, done }
    }
  })
  return {
    sink,
    timers,
    text: () => Buffer.concat(taken).toString(),
    pending: () => under?.bytes.length ?? 0,
    settle: fate => {
      const write = under
      under = undefined
      if (write === undefined) return
      if (typeof fate === 'string') {
        write.done(Object.assign(new Error(fate), { code: fate }), 0)
        return
      }
      const written = Math.min(write.bytes.length, Math.max(1, fate))
      taken.push(write.bytes.subarray(0, written))
      write.done(null, written)
    }
  }
}

suite('log lines nobody reads', () => {
  test('take bounded memory, the rest is dropped, counted and told of once there is room', () => {
    const { sink, text, settle } = rig()
    for (let n = 0; n < 1_000; n++) sink.write(`line ${n}\n`)
    assert.ok(sink.waiting <= 100, String(sink.waiting))
    assert.ok(sink.dropped > 950)
    const dropped = sink.dropped
    while (sink.waiting > 0) settle(7)
    sink.write('after\n')
    while (sink.waiting > 0) settle(1_000)
    assert.match(text(), new RegExp(`^line 0\\nline 1\\n[^]*\\(${dropped} dropped\\)\\nafter\\n$`))
  })

  test('that come together are written in one call; those of a flush, and more than a call can take, wait for nothing', async () => {
    const { sink, text, settle, pending, timers } = rig(1_000_000, 10)
    sink.write('one\n')
    sink.write('two\n')
    assert.equal(pending(), 0)
    await timers.pass(10)
    assert.equal(pending(), 8)
    sink.write('three\n')
    settle(8)
    assert.equal(pending(), 0)
    const flushed = sink.flush(60_000)
    assert.equal(pending(), 6)
    settle(6)
    await flushed
    assert.deepEqual([text(), timers.waiting, sink.waiting], ['one\ntwo\nthree\n', 0, 0])
    sink.write('x'.repeat(70_000))
    assert.equal(pending(), 70_000)
    settle(70_000)
  })

  test('of a pipe that is full for now wait and are written later', async () => {
    const { sink, text, settle, timers } = rig()
    sink.write('one\n')
    settle('EAGAIN')
    sink.write('two\n')
    await timers.pass(50)
    while (sink.waiting > 0) settle(1_000)
    assert.equal(text(), 'one\ntwo\n')
    assert.equal(sink.dropped, 0)
  })

  test('of a disk that is full are dropped and counted, and later ones are written', () => {
    const { sink, text, settle } = rig()
    sink.write('one\n')
    settle('ENOSPC')
    assert.equal(sink.dropped, 1)
    sink.write('two\n')
    while (sink.waiting > 0) settle(1_000)
    assert.equal(text(), '(1 dropped)\ntwo\n')
  })

  test('after a flush in vain no write begins, so that none is under way when the process ends', async () => {
    const { sink, settle, pending, timers } = rig()
    sink.write('one\n')
    settle('EAGAIN')
    await sink.flush(1)
    await timers.pass(10_000)
    assert.deepEqual([pending(), sink.writing], [0, false])
    sink.write('two\n')
    assert.deepEqual([pending(), sink.dropped], [0, 1])

    const other = rig()
    other.sink.write('one\n')
    const flushed = other.sink.flush(500)
    // It gives up while this write is under way, which shows in what it drops, and waits for it.
    while (other.sink.dropped === 0) {
      await new Promise(resolve => { setTimeout(resolve, 10) })
      other.sink.write('')
    }
    other.settle('EAGAIN')
    await flushed
    assert.deepEqual([other.pending(), other.sink.writing], [0, false])
  })

  test('flush waits for what is there, and no longer than it is told', async () => {
    const { sink, settle } = rig()
    await sink.flush(60_000)
    sink.write('one\n')
    const flushed = sink.flush(60_000)
    settle(1_000)
    await flushed
    sink.write('two\n')
    await sink.flush(1)
    assert.equal(sink.writing, true)
  })

  test('whatever the reader does: memory stays bounded, every line is written whole and in order or counted', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constantFrom('EAGAIN', 'EPIPE')), { maxLength: 60 }), fc.infiniteStream(fc.integer({ min: 0, max: 4 })), async (fates, lines) => {
      const { sink, text, settle, timers } = rig()
      let written = 0
      for (const fate of fates) {
        for (let left = draw(lines); left > 0; left--) sink.write(`<${written++}>\n`)
        assert.ok(sink.waiting <= 100)
        settle(fate)
        await timers.pass(50)
      }
      while (sink.waiting > 0) {
        settle(1_000)
        await timers.pass(50)
      }
      const numbers = text().split('\n').flatMap(line => /^<(\d+)>$/.exec(line)?.[1] ?? []).map(Number)
      assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b))
      // A write that fails half-way has been counted with all its lines.
      assert.ok(numbers.length + sink.dropped >= written)
    }))
  })
})
