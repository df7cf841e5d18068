import type { AccessRecord } from '../../src/channel/access-record.ts'

/** A record with every field. */
export const ACCESS_RECORD: AccessRecord = {
  time: Date.UTC(2026, 11, 1, 9, 0, 0, 7),
  kind: 'hit',
  reqId: 'r-1',
  remote: '192.0.2.1',
  subject: 'alice',
  transport: 'http',
  version: '1.1',
  method: 'GET',
  url: '/shards/QmA/shard_3.bin',
  object: 'QmA/3',
  range: 'bytes=0-999',
  status: 206,
  code: 'RELAY_ERR_INTERNAL',
  complete: true,
  bytes: 1_000,
  cache: 'hit',
  superNode: '192.0.2.9:9002',
  firstByteMs: 1.2345,
  ms: 4.567,
  userAgent: 'agent/1.0 (x)',
  referer: 'https://example.org/',
  traceId: '0af7651916cd43dd8448eb211c80319c'
}
