import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { bodyOf, freePorts, template, type Running, type World } from './peer.ts'

export interface RelayOptions {
  /** Folder of this relay below the temporary one; several may run side by side. */
  readonly name: string
  /** Memory tier; 0 leaves all hits to the disk. */
  readonly ramBytes?: number
  /** HTTP/3 engine; off starts no gateway. */
  readonly engine?: 'quinn' | 'fails' | 'off'
  /** HTTPS on the viewer port, and this certificate everywhere; self-signed for the gateway alone otherwise. */
  readonly tls?: boolean
  readonly env?: Readonly<Record<string, string>>
  readonly nodeArguments?: readonly string[]
}

/** A relay with the super-node of the world behind it. @throws Error when it does not start */
export async function startRelay (world: World, { name, ramBytes = 268_435_456, engine = 'off', tls = false, env = {}, nodeArguments = [] }: RelayOptions): Promise<Running> {
  const [viewer = 0, websocket = 0, admin = 0] = await freePorts(3)
  const directory = join(world.directory, name)
  await mkdir(directory, { recursive: true })
  const files = join(directory, 'cache')
  const config = join(directory, 'relay.toml')
  await writeFile(config, await template('relay.toml', {
    VIEWER_PORT: viewer,
    WEBSOCKET_PORT: websocket,
    ADMIN_PORT: admin,
    PLAYER: tls,
    CACHE: files,
    RAM_BYTES: ramBytes,
    ORIGIN: `http://${world.origin.host}:${world.origin.port}`,
    CERTIFICATE: tls ? world.certificate.cert : '',
    KEY: tls ? world.certificate.key : '',
    ENGINE: engine
  }))
  const loader = world.relayProgram.endsWith('.ts') ? ['--import', 'tsx'] : []
  const server = ManagedProcess.start([process.execPath, ...loader, ...nodeArguments, world.relayProgram, '--config', config], { name, core: world.serverCore, env })
  await server.listening(viewer, admin)
  const running: Running = {
    process: server,
    admin,
    ...tls ? { https: viewer } : { http: viewer },
    ...engine === 'off' ? {} : { http3: viewer, websocket },
    files: join(files, 'shards')
  }
  if (engine !== 'off') await server.until(async () => (await offerOf(running)).webtransport !== undefined, 'ready for sessions')
  return running
}

/** How to reach a relay, as `GET /v1/transport` tells it. */
export interface Offer {
  readonly webtransport?: { readonly url: string, readonly certificateHashes: readonly { readonly value: string }[] }
  readonly websocket?: { readonly url: string, readonly certificateHashes: readonly { readonly value: string }[] }
}

export async function offerOf (relay: Running): Promise<Offer> {
  return JSON.parse((await bodyOf(relay, '/v1/transport')).toString()) as Offer
}
