import type { LookupFunction } from 'node:net'
import { connect } from 'node:tls'
import { systemCode } from '../../base/errors.ts'

/**
 * Whether a node that closes plain connections without a word answers a TLS handshake; asked when its health is, so that its log line can say so.
 * @param lookup resolves its host name; the resolver of the host by default
 */
export async function answersTls (url: string, signal: AbortSignal, lookup?: LookupFunction): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return await new Promise<boolean>(resolve => {
    // Whose certificate it is does not matter: nothing is sent.
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port === '' ? 80 : port), ...lookup === undefined ? {} : { lookup }, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
    const end = (answer: boolean): void => {
      signal.removeEventListener('abort', aborted)
      socket.destroy()
      resolve(answer)
    }
    const aborted = (): void => { end(false) }
    signal.addEventListener('abort', aborted, { once: true })
    socket.once('secureConnect', () => { end(true) })
    // An alert is an answer in TLS as well.
    socket.once('error', (error: Error) => { end(systemCode(error)?.includes('ALERT') === true) })
    socket.once('close', () => { end(false) })
    if (signal.aborted) aborted()
  })
}
