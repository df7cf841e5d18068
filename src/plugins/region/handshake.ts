import { connect as connectTcp, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Handshake } from './sampler.ts'

/**
 * One round trip to an origin, by the handshake that costs one: TCP for http; for https TLS 1.3 after TCP, because a TCP handshake ends
 * at whatever box stands in front, TLS where the certificate is. Finding the address is not counted. The socket is always destroyed.
 * @param monotonic clock, ms
 */
export function socketHandshake (monotonic: () => number): Handshake {
  return async (url, signal) => await new Promise<number>((resolve, reject) => {
    const { protocol, hostname, port } = new URL(url)
    const host = hostname.replace(/^\[|\]$/g, '')
    const secure = protocol === 'https:'
    // The certificate does not matter: nothing is sent, nothing is read, and requests check it on connections of their own.
    const socket = secure
      ? connectTls({ host, port: port === '' ? 443 : Number(port), rejectUnauthorized: false, ALPNProtocols: ['http/1.1'], ...isIP(host) === 0 ? { servername: host } : {} })
      : connectTcp({ host, port: port === '' ? 80 : Number(port) })
    let start = monotonic()
    const restart = (): void => { start = monotonic() }
    const end = (): void => {
      signal.removeEventListener('abort', giveUp)
      socket.destroy()
    }
    const giveUp = (): void => {
      end()
      reject(new Error('the time for the handshake is up'))
    }
    // A name with several addresses is tried one after the other; the attempt that succeeds is the one that counts.
    socket.on('connectionAttempt', restart)
    if (secure) socket.once('connect', restart)
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      const ms = monotonic() - start
      end()
      resolve(ms)
    })
    // Stays for good: an error after the end must not be one that nobody hears.
    socket.on('error', (error: Error) => {
      end()
      reject(error)
    })
    socket.once('close', () => {
      end()
      reject(new Error('the connection was closed in the middle of the handshake'))
    })
    if (signal.aborted) giveUp()
    else signal.addEventListener('abort', giveUp, { once: true })
  })
}
