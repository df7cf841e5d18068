/** What the tests of several browsers stand on: a super-node and a relay in processes of their own, and pages that see them. */
import assert from 'node:assert/strict'
import { X509Certificate, createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Agent, request } from 'undici'
import { fetchHashed, until } from '../../tools/harness/http.ts'
import { DEFAULT_LIMITS } from '../../tools/harness/default-limits.ts'
import { NEVER_OVERLOADED, PATIENT_SUPERVISOR, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { SUPER_NODE, spawnProgram, spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'

/** A row of the admin list. */
export interface ViewerRow {
  readonly id: string
  readonly address: string
  readonly transport: string
  readonly streams: number
  readonly streamsTotal: number
  readonly bytes: number
}

export interface BrowserRig {
  readonly relay: SpawnedRelay
  readonly origin: string
  /** The sample clip. */
  readonly cid: string
  /** Replaces the faults of the super-node. */
  readonly faults: (faults: Record<string, unknown>) => Promise<void>
  readonly viewers: () => Promise<readonly ViewerRow[]>
  /** SHA-256 of an object at the super-node. */
  readonly truth: (path: string) => Promise<string>
}

type Settings = Record<string, Record<string, unknown>>

/** What lets browsers be tested beside others: nothing here depends on how soon a process gets its turn. */
export const PATIENT: Settings = { limits: DEFAULT_LIMITS, overload: NEVER_OVERLOADED, transport: PATIENT_SUPERVISOR, upstream: PATIENT_UPSTREAM }

/** Waits until the gateway is there, which may come after its relay. @param ca PEM of who vouches for the relay */
export async function everyTransportOpen (viewerUrl: string, ca?: string): Promise<void> {
  const dispatcher = new Agent(ca === undefined ? {} : { connect: { ca } })
  const ask = async (): Promise<Record<string, unknown>> => await (await request(`${viewerUrl}/v1/transport`, { dispatcher })).body.json() as Record<string, unknown>
  await until(ask, ({ webtransport, websocket }) => webtransport !== undefined && websocket !== undefined)
  await dispatcher.close()
}

/**
 * A relay with the player, and a super-node with the clip and every `syn-` object.
 * @param ca file of the authority that vouches for the relay's certificate, where one is configured
 */
export async function startBrowserRig (t: Pick<TestContext, 'after'>, { viewer, upstream, ...settings }: Settings = {}, ca?: string): Promise<BrowserRig> {
  const node = spawnProgram(t, SUPER_NODE, ['--port', '0', '--media', 'demo/media/clip.webm'])
  const { url: origin, items } = await node.waitFor(event => event['event'] === 'listening') as { url: string, items: { cid: string }[] }
  const relay = await spawnRelay(t, [{ url: origin, region: 'NA-WEST' }], {
    ...PATIENT,
    region: { override: 'NA-WEST' },
    ...settings,
    viewer: { player: true, ...viewer },
    upstream: { ...PATIENT_UPSTREAM, ...upstream }
  })
  await (ca === undefined ? everyTransportOpen(relay.viewerUrl) : everyTransportOpen(relay.viewerUrl.replace('http:', 'https:'), await readFile(ca, 'utf8')))
  return {
    relay,
    origin,
    cid: items[0]?.cid ?? '',
    faults: async faults => {
      const { statusCode, body } = await request(`${origin}/_demo/faults`, { method: 'POST', body: JSON.stringify(faults) })
      assert.equal(statusCode, 200, await body.text())
    },
    viewers: async () => (await (await request(`${relay.adminUrl}/admin/v1/viewers`)).body.json() as { viewers: ViewerRow[] }).viewers,
    truth: async path => (await fetchHashed(`${origin}${path}`)).sha256
  }
}

/** Base64 SHA-256 of the public key of a relay's certificate: browsers cannot pin a self-signed certificate for WebSocket, but Chromium a key. */
export async function spkiOf ({ cachePath }: SpawnedRelay): Promise<string> {
  const { publicKey } = new X509Certificate(await readFile(join(cachePath, 'tls/current.pem')))
  return createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64')
}
