import { createHash } from 'node:crypto'
import type { TestContext } from 'node:test'
import { ANONYMOUS } from '../../src/admission/verdict.ts'
import { RelayError } from '../../src/base/errors.ts'
import { DEFAULT_SESSION_LIMITS } from '../../src/gateway/session/session-types.ts'
import type { SessionLimits, StreamReport } from '../../src/gateway/session/session-types.ts'
import type { ShardLease, ShardSource } from '../../src/gateway/session/shard-source.ts'
import { ViewerSession } from '../../src/gateway/session/viewer-session.ts'
import type { ViewerPace, ViewerSessionDeps } from '../../src/gateway/session/viewer-session.ts'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { connectMemory, memoryTransport } from './memory-transport.ts'
import type { TransportListener } from '../../src/gateway/transports/viewer-transport.ts'
import { keyId } from '../../src/protocol/shard-key.ts'

/** Objects by {@link keyId}; counts what it lends. `failAt` breaks the body of an object at a position. */
export class FakeSource implements ShardSource {
  readonly objects = new Map<string, Uint8Array>()
  readonly failAt = new Map<string, { position: number, error: Error }>()
  readonly resolved: string[] = []
  /** While set, bodies wait here before every read. */
  gate: Promise<void> | undefined
  held = 0
  lent = 0

  async resolve (key: Parameters<ShardSource['resolve']>[0], { signal }: Parameters<ShardSource['resolve']>[1]): Promise<ShardLease> {
    const id = keyId(key)
    this.resolved.push(id)
    const bytes = this.objects.get(id)
    if (bytes === undefined) throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'no super-node has it')
    this.held++
    this.lent++
    let released = false
    return {
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      verified: true,
      lasting: true,
      origin: { hit: true, tier: 'disk', storedAt: 0 },
      body: {
        read: async (position, maxBytes) => {
          if (this.gate !== undefined) await Promise.race([this.gate, aborted(signal)])
          const fault = this.failAt.get(id)
          if (fault !== undefined && position + maxBytes > fault.position) {
            if (position >= fault.position) throw fault.error
            return bytes.subarray(position, fault.position)
          }
          return bytes.subarray(position, Math.min(bytes.length, position + maxBytes))
        }
      },
      release: () => {
        if (released) throw new Error('released twice')
        released = true
        this.held--
      }
    }
  }
}

function aborted (signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')))
    if (signal.aborted) reject(new Error('aborted'))
  })
}

export interface ViewerRig {
  readonly source: FakeSource
  readonly sessions: ViewerSession[]
  readonly reports: StreamReport[]
  readonly faults: unknown[]
  /** What was admitted and, negative, given back, bytes. */
  readonly granted: number[]
  readonly listener: TransportListener
  /** Settable clock of the sessions, milliseconds. */
  now: number
  dial (path?: string): Promise<TransportSession>
}

/** A gateway in this process: memory transport, viewer sessions, a fake object source. */
export async function viewerRig (t: TestContext, options: { limits?: Partial<SessionLimits>, pace?: ViewerPace, authorize?: ViewerSessionDeps['authorize'], maxStreams?: number } = {}): Promise<ViewerRig> {
  const source = new FakeSource()
  const sessions: ViewerSession[] = []
  const reports: StreamReport[] = []
  const faults: unknown[] = []
  const listener = await memoryTransport({ creditTimeoutMs: 20 }).listen({
    host: 'memory', port: 1, tls: { cert: '', key: '' }, path: '/v1/viewer', maxSessions: 100, maxStreamsPerSession: options.maxStreams ?? 1000, handshakeTimeoutMs: 1000, idleTimeoutMs: 60_000
  }, {
    decide: () => ({ accept: true }),
    handshakeFailed: () => {},
    log: () => {},
    session: transport => {
      sessions.push(new ViewerSession(transport, {
        source,
        authorize: options.authorize ?? (() => ANONYMOUS),
        observer: { stream: report => { reports.push(report) }, closed: () => {}, granted: bytes => { rig.granted.push(bytes) }, fault: error => { faults.push(error) } },
        now: () => rig.now,
        limits: { ...DEFAULT_SESSION_LIMITS, ...options.limits },
        ...options.pace === undefined ? {} : { pace: options.pace },
        answering: () => ({ now: 0, tokenRequired: false }),
        version: '1.2.3',
        region: 'EU-WEST'
      }))
    }
  })
  const rig: ViewerRig = { source, sessions, reports, faults, granted: [], listener, now: 0, dial: (path = '/v1/viewer') => connectMemory(listener, { path }) }
  t.after(() => listener.close())
  return rig
}

/** Lets every settled promise run its continuations. */
export async function settle (): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve))
}

/** Waits, within 2 s, until something asynchronous has become true; for tests that have no event to wait for. */
export async function until (condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 2000
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within 2 s: ${what}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}
