import { join } from 'node:path'
import { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { ROOT, freePorts, requireProgram, type Running, type World } from './peer.ts'

/** Caddy with static files. @throws Error when it is not installed or does not start */
export async function startCaddy (world: World): Promise<Running> {
  const command = await requireProgram('caddy')
  const [http = 0, https = 0, http3 = 0] = await freePorts(3)
  const home = join(world.directory, 'caddy')
  const process = ManagedProcess.start([command, 'run', '--config', join(ROOT, 'compare/configs/Caddyfile'), '--adapter', 'caddyfile'], {
    core: world.serverCore,
    env: {
      HOME: home,
      XDG_DATA_HOME: join(home, 'data'),
      XDG_CONFIG_HOME: join(home, 'config'),
      HTTP_PORT: String(http),
      HTTP2_PORT: String(https),
      HTTP3_PORT: String(http3),
      CONTENT: world.content,
      CERTIFICATE: world.certificate.cert,
      KEY: world.certificate.key
    }
  })
  await process.listening(http, https, http3)
  return { process, http, https, http3, files: world.content }
}
