import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { freePorts, requireProgram, template, type Running, type World } from './peer.ts'

// Workers of a root nginx would be "nobody", who cannot read our temporary folder.
const USER = process.getuid?.() === 0 ? 'user root root;' : ''

async function start (name: string, config: string, world: World, values: Record<string, string | number>, ports: readonly number[]): Promise<ManagedProcess> {
  const directory = join(world.directory, name)
  await mkdir(directory, { recursive: true })
  const file = join(directory, 'nginx.conf')
  await writeFile(file, await template(config, { USER, DIRECTORY: directory, CERTIFICATE: world.certificate.cert, KEY: world.certificate.key, ...values }))
  const server = ManagedProcess.start([await requireProgram('nginx'), '-c', file, '-e', 'stderr'], { name, core: world.serverCore })
  await server.listening(...ports)
  return server
}

/** nginx with static files. @throws Error when it is not installed or does not start */
export async function startNginxFiles (world: World): Promise<Running> {
  const [http = 0, https = 0] = await freePorts(2)
  const process = await start('nginx', 'nginx-sendfile.conf', world, { HTTP_PORT: http, HTTPS_PORT: https, CONTENT: world.content }, [http, https])
  return { process, http, https, files: world.content }
}

/** nginx as a caching proxy. @throws Error when it is not installed or does not start */
export async function startNginxCache (world: World): Promise<Running> {
  const [http = 0] = await freePorts(1)
  const files = join(world.directory, 'nginx-cache-files')
  const process = await start('nginx-cache', 'nginx-proxy-cache.conf', world, { HTTP_PORT: http, CACHE: files, ORIGIN: `${world.origin.host}:${world.origin.port}` }, [http])
  return { process, http, files }
}
