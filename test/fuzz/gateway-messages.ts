import assert from 'node:assert/strict'
import { checkFromGateway } from '../../src/channel/from-gateway.ts'

/** What the gateway may say to the relay: the process that strangers talk to may be anybody's. */
export function fuzz (data: Uint8Array): void {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(data).toString())
  } catch {
    return
  }
  const checked = checkFromGateway(value)
  if (typeof checked === 'string') assert.ok(checked.length > 0 && checked.length <= 500)
  else assert.equal(checked, value)
}
