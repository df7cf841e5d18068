import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { TestContext } from 'node:test'

const TYPES = { A: 1, AAAA: 28, SRV: 33 } as const
/** RFC 1035 §4.1.1. */
export const SERVFAIL = 2
export const NXDOMAIN = 3

export interface DnsRecord {
  readonly type: keyof typeof TYPES
  /** Seconds. */
  readonly ttl: number
  /** An address, or `priority weight port target`. */
  readonly data: string
}

export interface DnsServer {
  /** `127.0.0.1:port`, for `Resolver.setServers`. */
  readonly address: string
  /** Questions so far, `TYPE name`. */
  readonly questions: string[]
  /** What is answered from now on: records, a code, or nothing at all. */
  answer: readonly DnsRecord[] | number | 'silence'
}

function encodeName (name: string): Buffer {
  const labels = name === '.' ? [] : name.split('.')
  return Buffer.concat([...labels.map(label => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])), Buffer.from([0])])
}

function encodeAddress (address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number))
  const [left = [], right = []] = address.split('::').map(half => half.split(':').filter(part => part !== ''))
  const groups = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right]
  return Buffer.from(groups.map(group => group.padStart(4, '0')).join(''), 'hex')
}

function encodeData ({ type, data }: DnsRecord): Buffer {
  if (type !== 'SRV') return encodeAddress(data)
  const [priority = '', weight = '', port = '', target = ''] = data.split(' ')
  const head = Buffer.alloc(6)
  ;[priority, weight, port].forEach((value, position) => { head.writeUInt16BE(Number(value), position * 2) })
  return Buffer.concat([head, encodeName(target)])
}

function encodeRecord (record: DnsRecord): Buffer {
  const data = encodeData(record)
  const head = Buffer.alloc(12)
  // The name is a pointer to the question.
  head.writeUInt16BE(0xc00c, 0)
  head.writeUInt16BE(TYPES[record.type], 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt32BE(record.ttl, 6)
  head.writeUInt16BE(data.length, 10)
  return Buffer.concat([head, data])
}

/** A name server over UDP on loopback whose every answer is given by the test; it ends with the test. */
export async function startDnsServer (t: Pick<TestContext, 'after'>): Promise<DnsServer> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => { socket.close() })
  const server: DnsServer = { address: `127.0.0.1:${socket.address().port}`, questions: [], answer: [] }
  socket.on('message', (query, peer) => {
    const labels: string[] = []
    let at = 12
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length))
      at += 1 + length
    }
    const type = Object.entries(TYPES).find(([, number]) => number === query.readUInt16BE(at + 1))?.[0] ?? 'other'
    server.questions.push(`${type} ${labels.join('.')}`)
    const { answer } = server
    if (answer === 'silence') return
    const records = typeof answer === 'number' ? [] : answer.filter(record => record.type === type)
    const head = Buffer.alloc(12)
    head.writeUInt16BE(query.readUInt16BE(0), 0)
    head.writeUInt16BE(0x8580 | (typeof answer === 'number' ? answer : 0), 2)
    head.writeUInt16BE(1, 4)
    head.writeUInt16BE(records.length, 6)
    socket.send(Buffer.concat([head, query.subarray(12, at + 5), ...records.map(encodeRecord)]), peer.port, peer.address)
  })
  return server
}
