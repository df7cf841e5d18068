/**
 * A program that loads the quinn engine, keeping a copy in the directory it is given where the glibc is an older one, and tries the binding against
 * itself; prints what it saw as one line of JSON.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { engineFile, loadEngine, runningGlibc } from '../../src/quinn/engine-file.ts'
import type { NapiBinding, NapiRecvStream, NapiServer } from '../../src/quinn/binding.ts'
import { certificateHash, createSelfSigned } from '../../src/plugins/tls/self-signed.ts'

const BYTES = 1_048_576
const READ_BYTES = 65_536
const ATTEMPTS = 5

export interface EngineSmoke {
  readonly glibc: string | undefined
  /** What the engine was loaded from. */
  readonly file: string
  /** Messages that were logged. */
  readonly log: readonly string[]
}

async function freeUdpPort (): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}

/** The binding cannot tell which port it was given, so it is asked for one that was free just now. */
async function bind ({ NapiServer }: NapiBinding, cert: string, key: string): Promise<{ server: NapiServer, port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freeUdpPort()
    try {
      return { server: NapiServer.bind(`127.0.0.1:${port}`, Buffer.from(cert), Buffer.from(key)), port }
    } catch (error) {
      if (attempt === ATTEMPTS) throw error
    }
  }
}

async function readAll (stream: NapiRecvStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (;;) {
    const chunk = await stream.read(READ_BYTES)
    if (chunk === null) return Buffer.concat(chunks)
    chunks.push(chunk)
  }
}

async function tryOut (binding: NapiBinding): Promise<void> {
  const { cert, key } = createSelfSigned([], Date.now())
  const { server, port } = await bind(binding, cert, key)
  const client = binding.NapiClient.withCertificateHashes([Buffer.from(certificateHash(cert), 'base64')])
  const connecting = client.connect(`https://127.0.0.1:${port}/v1/viewer?ticket=none`)
  const request = await server.accept()
  assert.ok(request !== null)
  assert.equal(await request.url, `https://127.0.0.1:${port}/v1/viewer?ticket=none`)
  const [serverSide, clientSide] = await Promise.all([request.ok(), connecting])

  const sent = randomBytes(BYTES)
  const asked = await clientSide.openBi()
  const asking = asked.takeSend()
  await asking.write(sent.subarray(0, 1))
  const echoed = await serverSide.acceptBi()
  const echo = async (): Promise<void> => {
    const sending = echoed.takeSend()
    await sending.write(await readAll(echoed.takeRecv()))
    await sending.finish()
  }
  const ask = async (): Promise<void> => {
    await asking.write(sent.subarray(1))
    await asking.finish()
  }
  const [received] = await Promise.all([readAll(asked.takeRecv()), echo(), ask()])
  assert.ok(received.equals(sent), 'the bytes that come back are those that were sent')

  const broken = await clientSide.openUni()
  await broken.write(Buffer.from('half'))
  const reading = await serverSide.acceptUni()
  await broken.reset(42)
  await assert.rejects(readAll(reading), /42/)

  clientSide.close(7, 'done')
  assert.deepEqual(await serverSide.closed(), { closeCode: 7, reason: 'done' })
  server.close()
}

const [, , directory] = process.argv
assert.ok(directory !== undefined, 'no directory given')
const log: string[] = []
const file = engineFile({ directory, shim: true, log: (_level, message) => { log.push(message) } })
await tryOut(loadEngine(file))
const seen: EngineSmoke = { glibc: runningGlibc(), file, log }
process.stdout.write(`${JSON.stringify(seen)}\n`)
