import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isPrivateHost, isPublicAddress } from '../../../src/base/private-address.ts'

suite('addresses that are not public', () => {
  for (const address of [
    '0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '127.255.255.254', '169.254.169.254', '172.16.0.1', '172.31.255.255', '192.0.0.1', '192.0.2.1', '192.168.1.1', '198.18.0.1', '198.19.255.255',
    '198.51.100.7', '203.0.113.9', '224.0.0.1', '240.0.0.1', '255.255.255.255', '::', '::1', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '64:ff9b::7f00:1', 'fc00::1', 'fd12::1', 'fe80::1', 'fe80::1%eth0', 'ff02::1',
    '2001::1', '2001:db8::1', '2002:7f00:1::', '3fff::1', '2606:4700::1%eth0', '', 'example.org', '1.2.3'
  ]) test(`${address} is not`, () => { assert.equal(isPublicAddress(address), false) })

  for (const address of ['1.1.1.1', '8.8.8.8', '100.63.255.255', '100.128.0.1', '172.15.0.1', '172.32.0.1', '198.17.0.1', '223.255.255.255', '2001:4860:4860::8888', '2606:4700::1111', '2a00::1']) {
    test(`${address} is`, () => { assert.equal(isPublicAddress(address), true) })
  }

  test('hosts of URLs: however an address is spelled; a name is looked up later', () => {
    for (const url of ['http://127.0.0.1', 'http://127.1', 'http://0x7f.1', 'http://2130706433', 'http://127.0.0.1.', 'http://[::1]:80', 'http://[::ffff:10.0.0.1]']) assert.equal(isPrivateHost(new URL(url).hostname), true, url)
    for (const url of ['http://8.8.8.8', 'http://[2606:4700::1111]', 'http://localhost', 'http://super-1.example']) assert.equal(isPrivateHost(new URL(url).hostname), false, url)
  })
})
