import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { X509Certificate, createHash } from 'node:crypto'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import type { Cleanup } from '../tools/harness/cleanup.ts'
import { createSelfSigned } from '../src/plugins/tls/self-signed.ts'
import { Browser } from './clients/browser.ts'
import type { Http1Answer, Http1Order } from './clients/http1-process.ts'
import type { LoadOutcome } from './clients/load.ts'
import type { SessionsAnswer, SessionsOrder } from './clients/sessions-process.ts'
import { ROOT, freePorts, type Running, type World } from './peers/peer.ts'
import { startBareNode } from './peers/bare-node.ts'
import { startCaddy } from './peers/caddy.ts'
import { startNginxCache, startNginxFiles } from './peers/nginx.ts'
import { startRelay, type RelayOptions } from './peers/relay.ts'
import { startVarnish } from './peers/varnish.ts'
import { ManagedProcess } from '../tools/harness/managed-process.ts'
import type { Scale } from './scale.ts'
import { shardSet, writeShards, type ShardSet } from './shards.ts'

/** Objects that are asked for again and again, of each size. */
const HOT_OBJECTS = 10

const STARTERS = {
  nginx: startNginxFiles,
  'nginx-cache': startNginxCache,
  varnish: startVarnish,
  caddy: startCaddy,
  node: startBareNode,
  relay: async world => await startRelay(world, { name: 'relay' }),
  'relay-disk': async world => await startRelay(world, { name: 'relay-disk', ramBytes: 0 }),
  'relay-tls': async world => await startRelay(world, { name: 'relay-tls', engine: 'quinn', tls: true }),
  'relay-sessions': async world => await startRelay(world, { name: 'relay-sessions', engine: 'quinn' }),
  'relay-fails': async world => {
    const engine = '@fails-components/webtransport-transport-http3-quiche'
    // An import would load native code; whether it is there is all we ask.
    try { import.meta.resolve(engine) } catch { throw new Error(`${engine} is not installed (an optional peer dependency)`) }
    return await startRelay(world, { name: 'relay-fails', engine: 'fails' })
  }
} as const satisfies Record<string, (world: World) => Promise<Running>>

export type PeerName = keyof typeof STARTERS

export interface LabOptions {
  readonly scale: Scale
  readonly relayProgram: string
}

/** Everything that is measured and that measures: servers on one core, clients on another, each started when first needed. */
export class Lab {
  readonly scale: Scale
  readonly world: World
  readonly clientCore: number | undefined
  readonly #cleanup: Cleanup
  readonly #originProcess: ManagedProcess
  readonly #peers = new Map<PeerName, Promise<Running>>()
  readonly #done = new Map<string, Promise<void>>()
  #http1: Promise<ManagedProcess> | undefined
  #sessions: Promise<ManagedProcess> | undefined
  #browser: Promise<Browser> | undefined

  private constructor (options: LabOptions, cleanup: Cleanup, world: World, clientCore: number | undefined, originProcess: ManagedProcess) {
    this.scale = options.scale
    this.world = world
    this.clientCore = clientCore
    this.#cleanup = cleanup
    this.#originProcess = originProcess
  }

  /** Writes the shards and starts the super-node; what it starts goes with `cleanup`. */
  static async open (options: LabOptions, whole: Cleanup): Promise<Lab> {
    const directory = await mkdtemp(join(tmpdir(), 'icn-relay-compare-'))
    const ends: (() => Promise<void> | void)[] = []
    // A relay that still runs heals a cache directory that somebody empties, so the directory goes when all have ended.
    whole.after(async () => {
      const ended = await Promise.allSettled(ends.map(async end => { await end() }))
      await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
      for (const each of ended) if (each.status === 'rejected') throw each.reason
    })
    const cleanup: Cleanup = { after: undo => { ends.push(undo) } }
    // On one core there is nothing to keep apart.
    const [serverCore, clientCore] = availableParallelism() > 1 ? [0, 1] : [undefined, undefined]
    const content = join(directory, 'content')
    const hot = options.scale.sizes.map(bytes => shardSet(bytes, 'hot', HOT_OBJECTS))
    await mkdir(content)
    // A browser needs some page of an origin to work from.
    await writeFile(join(content, 'index.html'), '<!doctype html><title>shards</title>')
    for (const set of hot) await writeShards(content, set)
    const { cert, key } = createSelfSigned([], Date.now())
    const certificate = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), spki: spkiHash(cert) }
    await writeFile(certificate.cert, cert)
    await writeFile(certificate.key, key, { mode: 0o600 })
    const [port = 0] = await freePorts(1)
    // Super-nodes are elsewhere, so theirs is not the core of the servers.
    const origin = ManagedProcess.start([process.execPath, '--import', 'tsx', join(ROOT, 'demo/super-node/main.ts'), '--port', String(port)], { name: 'super-node', core: clientCore })
    cleanup.after(async () => { await origin.stop() })
    await origin.listening(port)
    const world: World = { directory, serverCore, content, hotCids: hot.flatMap(({ cids }) => cids), certificate, origin: { host: '127.0.0.1', port }, relayProgram: options.relayProgram }
    return new Lab(options, cleanup, world, clientCore, origin)
  }

  /** The super-node, as a contender. */
  get origin (): Running { return { process: this.#originProcess, http: this.world.origin.port } }

  /** Objects of a size that everybody has. */
  hot (bytes: number): ShardSet { return shardSet(bytes, 'hot', HOT_OBJECTS) }

  /** A peer, started at the first call. @throws Error with the reason why it cannot be */
  async peer (name: PeerName): Promise<Running> {
    const known = this.#peers.get(name) ?? this.#keep(STARTERS[name](this.world))
    this.#peers.set(name, known)
    return await known
  }

  /** A relay that nobody else uses; the caller stops it. */
  async freshRelay (options: RelayOptions): Promise<Running> {
    return await this.#keep(startRelay(this.world, options))
  }

  /** Does what several scenarios need, once; a second call waits for the first. */
  async once (name: string, work: () => Promise<void>): Promise<void> {
    const doing = this.#done.get(name) ?? work()
    this.#done.set(name, doing)
    await doing
  }

  /** Way to the super-node and back, ms. */
  async setOriginLatency (latencyMs: number): Promise<void> {
    const { statusCode, body } = await request(`http://127.0.0.1:${this.world.origin.port}/_demo/faults`, { method: 'POST', body: JSON.stringify({ latencyMs }) })
    if (statusCode !== 200) throw new Error(await body.text())
    await body.dump()
  }

  /** @throws Error with what the client says */
  async http1 (order: Http1Order): Promise<Http1Answer> {
    this.#http1 ??= this.#client('compare/clients/http1-process.ts')
    return answered(await (await this.#http1).ask<Http1Answer>(order))
  }

  /** @throws Error with what the client says */
  async sessions (order: SessionsOrder): Promise<SessionsAnswer> {
    this.#sessions ??= this.#client('compare/clients/sessions-process.ts')
    return answered(await (await this.#sessions).ask<SessionsAnswer>(order))
  }

  /** @throws Error when Chromium does not start */
  async browser (): Promise<Browser> {
    this.#browser ??= (async () => {
      const caddy = await this.peer('caddy').catch(() => undefined)
      const browser = await Browser.start({ core: this.clientCore, directory: this.world.directory, spki: this.world.certificate.spki, quicPorts: caddy?.http3 === undefined ? [] : [caddy.http3] })
      this.#cleanup.after(async () => { await browser.close() })
      return browser
    })()
    return await this.#browser
  }

  async #client (file: string): Promise<ManagedProcess> {
    const client = ManagedProcess.start([process.execPath, '--import', 'tsx', join(ROOT, file)], { name: file, core: this.clientCore, ipc: true })
    this.#cleanup.after(async () => { await client.stop() })
    return client
  }

  async #keep (starting: Promise<Running>): Promise<Running> {
    const running = await starting
    this.#cleanup.after(async () => { await running.process.stop() })
    return running
  }
}

function answered<T extends { readonly error?: string }> (answer: T): T {
  if (answer.error !== undefined) throw new Error(answer.error)
  return answer
}

function spkiHash (cert: string): string {
  return createHash('sha256').update(new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })).digest('base64')
}

/** The outcome of an order that makes load. @throws Error when there is none */
export function outcomeOf ({ outcome, cpuMs }: { readonly outcome?: LoadOutcome, readonly cpuMs?: number }): { outcome: LoadOutcome, cpuMs: number } {
  if (outcome === undefined || cpuMs === undefined) throw new Error('the client did not say what it saw')
  return { outcome, cpuMs }
}
