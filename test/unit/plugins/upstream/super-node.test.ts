import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { test } from 'node:test'
import { Allowance } from '../../../../src/base/allowance.ts'
import { DEFAULT_FITNESS_POLICY } from '../../../../src/plugins/upstream/node-state.ts'
import { SuperNode } from '../../../../src/plugins/upstream/super-node.ts'

const MIB = 1024 * 1024

test('bodies read ahead as far as all nodes together may, and give that back however they end', async t => {
  const responses: ServerResponse[] = []
  const server = createServer((incoming, response) => {
    if (incoming.url !== '/body') return void response.writeHead(404).end()
    responses.push(response)
    response.writeHead(200, { 'content-length': 10 }).write('12345')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => { server.close() })
  const readAhead = new Allowance(2 * MIB)
  const options = { region: '', connections: 4, connectTimeoutMs: 60_000, headersTimeoutMs: 60_000, bodyTimeoutMs: 60_000, fitness: DEFAULT_FITNESS_POLICY, readAhead, now: Date.now }
  const node = new SuperNode({ ...options, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
  t.after(async () => { await node.close() })
  const { signal } = new AbortController()
  const bodies = []
  for (let n = 0; n < 3; n++) bodies.push((await node.get('/body', signal)).body)
  assert.deepEqual(bodies.map(body => body.readableHighWaterMark), [MIB, MIB, 64 * 1024])
  assert.equal(readAhead.taken, 2 * MIB)

  // One that is given up, one that ends, and one that breaks off.
  const [first, second, third] = bodies
  const closed = Promise.all(bodies.map(async body => await new Promise(resolve => body.once('close', resolve))))
  first?.destroy()
  second?.resume()
  third?.resume()
  responses[1]?.end('67890')
  responses[2]?.destroy()
  await closed
  assert.equal(readAhead.taken, 0)

  await assert.rejects(node.get('/missing', signal), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
  const unreachable = new SuperNode({ ...options, url: 'http://127.0.0.1:1' })
  t.after(async () => { await unreachable.close() })
  await assert.rejects(unreachable.get('/body', signal), { code: 'RELAY_ERR_UPSTREAM_UNREACHABLE' })
  await assert.rejects(node.get('/body', AbortSignal.abort()))
  assert.equal(readAhead.taken, 0)
})
