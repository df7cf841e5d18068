import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import type { Cleanup } from '../../tools/harness/cleanup.ts'
import { gatewayPid } from '../../tools/harness/gateway-process.ts'
import { metric } from '../../tools/harness/http.ts'
import { spawnSuperNode, type SpawnedNode, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { CIDS } from './catalogue.ts'
import type { Disturbance, Planned } from './disturbances.ts'

/** A killed super-node is away for as long, milliseconds. */
const DOWN_MS = 2_000
/** A gateway that is not back by then never will be; on a machine with much else to do it takes some seconds. */
const GATEWAY_BACK_MS = 30_000

/** Carries out what goes wrong, and puts everything right again. */
export class Storm {
  readonly #cleanup: Cleanup
  readonly #relay: SpawnedRelay
  readonly #nodes: SpawnedNode[]
  readonly #cacheBytes: number
  readonly #restarts = new Set<Promise<void>>()
  readonly counts: Record<string, number> = {}
  /** What the relay failed to survive. */
  readonly violations: string[] = []

  constructor (cleanup: Cleanup, relay: SpawnedRelay, nodes: readonly SpawnedNode[], cacheBytes: number) {
    this.#cleanup = cleanup
    this.#relay = relay
    this.#nodes = [...nodes]
    this.#cacheBytes = cacheBytes
  }

  /** Each disturbance at its time, or as soon as the one before is through. */
  async rage (plan: readonly Planned[], seconds: number): Promise<void> {
    const start = performance.now()
    for (const { atMs, disturbance } of plan) {
      await sleep(Math.max(0, start + atMs - performance.now()))
      this.counts[disturbance.kind] = (this.counts[disturbance.kind] ?? 0) + 1
      await this.#strike(disturbance)
    }
    await sleep(Math.max(0, start + seconds * 1_000 - performance.now()))
  }

  /** All super-nodes up and well, the cache as large as at the start. */
  async settle (): Promise<void> {
    await Promise.all(this.#restarts)
    for (const node of this.#nodes) await node.setFaults({})
    await this.#admin('PATCH', '/cache', { maxBytes: this.#cacheBytes })
  }

  async #strike (disturbance: Disturbance): Promise<void> {
    switch (disturbance.kind) {
      case 'kill-gateway': await this.#killGateway(); break
      case 'kill-node': await this.#killNode(disturbance.node); break
      case 'fault-node':
        await Promise.all(this.#restarts)
        // One ill super-node at a time: a relay with none left has nothing to prove.
        for (const [index, node] of this.#nodes.entries()) await node.setFaults(index === disturbance.node ? disturbance.faults : {})
        break
      case 'purge-video': await this.#admin('DELETE', `/cache/shards/${CIDS[disturbance.video] ?? ''}`); break
      case 'purge-all': await this.#admin('DELETE', '/cache/shards?confirm=all'); break
      case 'resize': await this.#admin('PATCH', '/cache', { maxBytes: Math.round(this.#cacheBytes * disturbance.share) }); break
    }
  }

  async #killGateway (): Promise<void> {
    const before = await gatewayPid(this.#relay.pid)
    if (before === undefined) return
    process.kill(before, 'SIGKILL')
    const end = performance.now() + GATEWAY_BACK_MS
    for (;;) {
      const now = await gatewayPid(this.#relay.pid)
      if (now !== undefined && now !== before && await metric(this.#relay.adminUrl, 'icn_relay_gateway_up') === 1) return
      if (performance.now() > end) {
        this.violations.push(`the gateway was not back ${GATEWAY_BACK_MS} ms after it was killed`)
        return
      }
      await sleep(50)
    }
  }

  async #killNode (index: number): Promise<void> {
    const node = this.#nodes[index]
    if (node === undefined) return
    // One at a time, so that an order of others may still be carried out.
    await Promise.all(this.#restarts)
    node.child.kill('SIGKILL')
    await node.exit
    const restart = (async () => {
      await sleep(DOWN_MS)
      this.#nodes[index] = await spawnSuperNode(this.#cleanup, node.region, {}, { port: Number(new URL(node.url).port) })
    })().finally(() => { this.#restarts.delete(restart) })
    this.#restarts.add(restart)
  }

  async #admin (method: 'DELETE' | 'PATCH', path: string, body?: Record<string, unknown>): Promise<void> {
    const headers = body === undefined ? { 'x-requested-with': 'soak' } : { 'content-type': 'application/json' }
    const response = await request(`${this.#relay.adminUrl}/admin/v1${path}`, { method, headers, body: body === undefined ? null : JSON.stringify(body) })
    const text = await response.body.text()
    if (response.statusCode !== 200) this.violations.push(`${method} ${path} was answered with ${response.statusCode}: ${text}`)
  }
}
