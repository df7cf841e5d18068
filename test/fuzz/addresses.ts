import assert from 'node:assert/strict'
import { addressKey, NO_ADDRESS, plainAddress } from '../../src/admission/address-key.ts'
import { isNetwork, Networks } from '../../src/admission/networks.ts'
import { parsePeer } from '../../src/gateway/transports/fails/request.ts'
import { withoutPorts } from '../../src/plugins/http/forwarded-for.ts'
import { latin1 } from '../support/fuzz.ts'

/** Addresses as proxies, libraries and operators write them. */
export function fuzz (data: Uint8Array): void {
  const text = latin1(data)
  const plain = withoutPorts(text)
  assert.equal(withoutPorts(plain), plain)
  assert.equal(addressKey(plainAddress(text)), addressKey(text))
  assert.match(addressKey(text), new RegExp(String.raw`^(?:${NO_ADDRESS}|\d+(?:\.\d+){3}|[0-9a-f]+(?::[0-9a-f]+){3}::/64)$`))
  const networks = new Networks([text])
  networks.has(text)
  if (isNetwork(text)) assert.ok(networks.has(text.split('/', 1)[0] ?? ''))
  else assert.ok(!networks.has('127.0.0.1') && !networks.has('::1'))
  parsePeer(text)
}
