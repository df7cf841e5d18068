import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { EventLines, MAX_EVENT, type ServerEvent } from '../../../dashboard/src/model/event-lines.ts'

const all = (...pieces: readonly string[]): ServerEvent[] => {
  const lines = new EventLines()
  return pieces.flatMap(piece => lines.push(piece))
}

suite('server-sent events', () => {
  test('as the relay sends them, comments between', () => {
    assert.deepEqual(all(':\n\nid: 1\nevent: request\ndata: {"a":1}\n\n:\n\nid: 2\nevent: lost\ndata: {"records":2}\n\n'), [{ event: 'request', data: '{"a":1}' }, { event: 'lost', data: '{"records":2}' }])
    assert.deepEqual(all('data: a\ndata: b\n\n', 'event: x\n\n', 'data\n\n'), [{ event: 'message', data: 'a\nb' }, { event: 'message', data: '' }])
  })

  test('however they are cut, and whatever ends their lines', () => {
    const event = fc.record({ event: fc.stringMatching(/^[a-z]{1,8}$/), data: fc.string().map(text => text.replace(/[\r\n]/g, '')) }, { noNullPrototype: true })
    fc.assert(fc.property(fc.array(event, { maxLength: 8 }), fc.constantFrom('\n', '\r\n', '\r'), fc.array(fc.nat(400), { maxLength: 20 }), (events, end, cuts) => {
      const text = events.map(({ event, data }) => [`event: ${event}`, `data: ${data}`, '', ''].join(end)).join('')
      const places = [0, ...[...cuts].map(cut => cut % (text.length + 1)).sort((a, b) => a - b), text.length]
      const found = all(...places.slice(1).map((place, n) => text.slice(places[n], place)), end === '\r' ? ':' : '')
      assert.deepEqual(found, events)
    }))
  })

  test('one that is too long is left out, however it comes, and the next is there', () => {
    const lines = new EventLines()
    const found: ServerEvent[] = []
    found.push(...lines.push('event: request\ndata: '))
    for (let n = 0; n < 100; n++) found.push(...lines.push('x'.repeat(10_000)))
    found.push(...lines.push('\ndata: rest\n\ndata: next\n\n'))
    for (let n = 0; n < 100; n++) found.push(...lines.push(`data: ${'x'.repeat(MAX_EVENT / 50)}\n`))
    found.push(...lines.push('\ndata: last\n\n'))
    assert.deepEqual(found.map(({ data }) => data), ['next', 'last'])
  })

  test('no text makes it throw', () => {
    fc.assert(fc.property(fc.array(fc.string({ unit: fc.constantFrom('\r', '\n', ':', ' ', 'data', 'event', 'x') })), pieces => { all(...pieces) }))
  })
})
