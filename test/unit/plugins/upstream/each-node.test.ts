import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { askEach, PATIENCE_MS, readUpTo, witnessOf, witnessesInTurn, type NodeText } from '../../../../src/plugins/upstream/each-node.ts'
import { virtualTimers } from '../../../fakes/timers.ts'

const NODES = Array.from({ length: 9 }, (_, n) => ({ id: `n${n}`, region: `R${n % 3}` }))
const patient = (): AbortSignal => new AbortController().signal
const answerOf = ({ id, region }: (typeof NODES)[number]): NodeText => ({ node: id, witness: region, bytes: Buffer.alloc(0) })

suite('asking each node', () => {
  test('asks each once, no more than so many at the same time, and passes over those that fail', async () => {
    const asked: string[] = []
    const taken: string[] = []
    let running = 0
    let most = 0
    await askEach(NODES, { parallel: 4, signal: patient(), take: ({ node }) => { taken.push(node); return false } }, async node => {
      asked.push(node.id)
      most = Math.max(most, ++running)
      await new Promise(resolve => { setImmediate(resolve) })
      running--
      if (node.region === 'R1') throw new Error('down')
      return answerOf(node)
    })
    assert.deepEqual(asked, NODES.map(({ id }) => id))
    assert.deepEqual(taken.toSorted(), NODES.filter(({ region }) => region !== 'R1').map(({ id }) => id))
    assert.equal(most, 4)
  })

  test('ends the others when it has enough, and all of them with its signal', async () => {
    const taken: string[] = []
    const ask = async (node: (typeof NODES)[number], signal: AbortSignal): Promise<NodeText> => {
      if (node.id === 'n1') return answerOf(node)
      return await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(new Error('aborted')) }) })
    }
    await askEach(NODES, { parallel: 3, signal: patient(), take: ({ node }) => { taken.push(node); return true } }, ask)
    assert.deepEqual(taken, ['n1'])
    const abort = new AbortController()
    const asking = askEach(NODES.slice(2), { parallel: 3, signal: abort.signal, take: () => false }, ask)
    abort.abort()
    await asking
    await askEach(NODES, { parallel: 3, signal: AbortSignal.abort(), take: () => assert.fail('nobody is asked') }, ask)
    await askEach([], { parallel: 3, signal: patient(), take: () => true }, ask)
  })

  test('another is asked beside each that is late, so that no few of them keep the rest from being asked', async () => {
    const timers = virtualTimers()
    const asked: string[] = []
    const asking = askEach(NODES, { parallel: 2, signal: patient(), take: ({ node }) => node === 'n8' }, async (node, signal) => {
      asked.push(node.id)
      if (node.id === 'n8') return answerOf(node)
      return await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(new Error('aborted')) }) })
    }, timers)
    await timers.pass(PATIENCE_MS - 1)
    assert.equal(asked.length, 2)
    await timers.pass(1)
    assert.equal(asked.length, 4)
    await timers.pass(10 * PATIENCE_MS)
    await asking
    assert.equal(asked.length, NODES.length)
    assert.equal(timers.waiting, 0)
  })

  test('nodes of one operator are one witness wherever they are, and those of nobody in particular by region', () => {
    const nodes = [{ id: 'a', region: 'R1', operator: 'acme' }, { id: 'b', region: 'R2', operator: 'acme' }, { id: 'c', region: 'R1' }, { id: 'd', region: 'R1', operator: 'other' }, { id: 'e', region: 'acme' }]
    assert.deepEqual(nodes.map(witnessOf), ['operator acme', 'operator acme', 'region R1', 'operator other', 'region acme'])
    assert.deepEqual(witnessesInTurn(nodes).map(({ id }) => id), ['a', 'c', 'd', 'e', 'b'])
  })

  test('one of each region comes first, and the order within a region stays', () => {
    const nodes = fc.array(fc.record({ id: fc.nat(), region: fc.constantFrom('R0', 'R1', 'R2') }), { maxLength: 20 })
    fc.assert(fc.property(nodes, some => {
      const turned = witnessesInTurn(some)
      const regions = new Set(some.map(({ region }) => region))
      assert.deepEqual(new Set(turned.slice(0, regions.size).map(({ region }) => region)), regions)
      for (const region of regions) assert.deepEqual(turned.filter(node => node.region === region), some.filter(node => node.region === region))
      assert.equal(turned.length, some.length)
    }))
  })

  test('a body is read no further than a byte beyond its bound', async () => {
    let sent = 0
    const endless = new Readable({
      highWaterMark: 1_000,
      read () {
        sent += 1_000
        this.push(Buffer.alloc(1_000))
      }
    })
    assert.equal((await readUpTo(endless, 10_500)).length, 10_501)
    assert.ok(endless.destroyed)
    assert.ok(sent < 20_000, `${sent}`)
    assert.equal((await readUpTo(Readable.from([Buffer.alloc(7)]), 10)).length, 7)
  })
})
