import { join } from 'node:path'
import { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { ROOT, freePorts, type Running, type World } from './peer.ts'

/** A Node server that does nothing but send buffers. */
export async function startBareNode (world: World): Promise<Running> {
  const [http = 0] = await freePorts(1)
  const server = ManagedProcess.start([process.execPath, join(ROOT, 'compare/configs/bare-node.js'), String(http), world.content, ...world.hotCids], { name: 'bare-node', core: world.serverCore })
  await server.listening(http)
  return { process: server, http }
}
