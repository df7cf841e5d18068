import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readAddressKey } from '../../../../src/plugins/access-log/address-key.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

test('the key of hashed addresses is the bytes of its file, without spaces around them', async t => {
  const file = join(await temporaryDirectory(t), 'key')
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => 255 - n).filter(byte => byte !== 0xa0))
  await writeFile(file, Buffer.concat([Buffer.from(' '), bytes, Buffer.from('x\n')]))
  assert.deepEqual(Buffer.from(await readAddressKey(file)), Buffer.concat([bytes, Buffer.from('x')]))
})

test('without a file it is another one each time', async () => {
  const [one, other] = await Promise.all([readAddressKey(''), readAddressKey('')])
  assert.equal(one.length, 32)
  assert.notDeepEqual(one, other)
})

test('a file that cannot be the key is named, and what has no end is not read', async t => {
  const directory = await temporaryDirectory(t)
  const [short, large, folder] = ['short', 'large', 'folder'].map(name => join(directory, name)) as [string, string, string]
  await writeFile(short, ' fifteen bytes!!\n'.slice(0, 16))
  await writeFile(large, Buffer.alloc(65_537, 'x'))
  await mkdir(folder)
  for (const [file, what] of [[short, 'must hold 16 bytes or more'], [large, 'is larger than 65536 bytes'], [folder, 'cannot be read: EISDIR'], [join(directory, 'none'), 'cannot be read: ENOENT'], ['/dev/zero', 'is not a file']] as const) {
    await assert.rejects(readAddressKey(file), { code: 'RELAY_ERR_CONFIG', message: `access_log.address_key_file ${file} ${what}` })
  }
})
