import { access, constants, readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Agent, request } from 'undici'
import { freePort } from '../../tools/harness/ci.ts'
import type { ManagedProcess } from '../../tools/harness/managed-process.ts'

/** Top folder of the repository. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** What every peer is started with. */
export interface World {
  /** For files of the peers; gone afterwards. */
  readonly directory: string
  /** Core of the servers; undefined pins nothing. */
  readonly serverCore: number | undefined
  /** Folder with all shards as static files. */
  readonly content: string
  /** CIDs of the shards that are asked for again and again. */
  readonly hotCids: readonly string[]
  readonly certificate: { readonly cert: string, readonly key: string, readonly spki: string }
  /** Super-node behind the peers that cache. */
  readonly origin: { readonly host: string, readonly port: number }
  /** Entry file of the relay. */
  readonly relayProgram: string
}

/** A peer that answers on 127.0.0.1. */
export interface Running {
  readonly process: ManagedProcess
  readonly http?: number
  /** TLS with HTTP/2. */
  readonly https?: number
  /** TLS with HTTP/2 and HTTP/3. */
  readonly http3?: number
  /** WebTransport over WebSocket. */
  readonly websocket?: number
  readonly admin?: number
  /** Folder of the files it serves from. */
  readonly files?: string
}

/** Replaces every `{{NAME}}`. @throws Error for a name without a value */
export function fillTemplate (text: string, values: Readonly<Record<string, string | number | boolean>>): string {
  return text.replace(/\{\{([A-Z_0-9]+)\}\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`the template wants ${name}`)
    return String(value)
  })
}

/** A file of `compare/configs` with its values. */
export async function template (name: string, values: Readonly<Record<string, string | number | boolean>>): Promise<string> {
  return fillTemplate(await readFile(join(ROOT, 'compare/configs', name), 'utf8'), values)
}

/** Where programs of administrators are, which a user's PATH may lack. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/** Path of an installed program; undefined when there is none. */
export async function findProgram (name: string): Promise<string | undefined> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS]) {
    const path = join(folder, name)
    if (await access(path, constants.X_OK).then(() => true, () => false)) return path
  }
  return undefined
}

/** @throws Error that says how to get it */
export async function requireProgram (name: string): Promise<string> {
  const path = await findProgram(name)
  if (path === undefined) throw new Error(`${name} is not installed; run compare/install.sh as root`)
  return path
}

/** TCP ports that are free now, all different. */
export async function freePorts (count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}

// The certificate is of our own making; nothing is sent that could be stolen.
const trusting = new Agent({ connect: { rejectUnauthorized: false } })

/** An object by HTTP/1.1, over TLS where there is nothing else. @throws Error for another status than 200 */
export async function bodyOf ({ http, https }: Pick<Running, 'http' | 'https'>, path: string): Promise<Buffer> {
  const { statusCode, body } = await request(`${http === undefined ? 'https' : 'http'}://127.0.0.1:${http ?? https}${path}`, { dispatcher: trusting })
  const bytes = Buffer.from(await body.arrayBuffer())
  if (statusCode !== 200) throw new Error(`${path}: ${statusCode}`)
  return bytes
}
