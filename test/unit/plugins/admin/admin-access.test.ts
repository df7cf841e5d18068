import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError, type ErrorCode } from '../../../../src/base/errors.ts'
import { AdminAccess, type AdminRequest, type AdminScope, type AdminToken } from '../../../../src/plugins/admin/access.ts'

const LOCAL: AdminRequest = { authorization: undefined, remoteAddress: '127.0.0.1', host: 'localhost:9103', origin: undefined, fetchSite: undefined, contentType: 'application/json', requestedWith: undefined }

/** Code of the refusal; undefined when the request passes. */
function outcome (access: AdminAccess, request: Partial<AdminRequest>, scope: AdminScope): ErrorCode | undefined {
  try {
    access.check({ ...LOCAL, ...request }, scope)
    return undefined
  } catch (error) {
    assert.ok(error instanceof RelayError)
    return error.code
  }
}

suite('tokens', () => {
  const access = new AdminAccess([{ token: 'reader-reader-reader', scope: 'read' }, { token: 'writer-writer-writer', scope: 'write' }])

  test('a read token reads, a write token reads and writes, anything else does neither', () => {
    const table: [authorization: string | undefined, read: ErrorCode | undefined, write: ErrorCode | undefined][] = [
      ['Bearer reader-reader-reader', undefined, 'RELAY_ERR_ADMIN_SCOPE'],
      ['Bearer writer-writer-writer', undefined, undefined],
      ['bearer writer-writer-writer', undefined, undefined],
      ['Bearer   writer-writer-writer  ', undefined, undefined]
    ]
    for (const wrong of [undefined, '', 'Bearer', 'Bearer ', 'writer-writer-writer', 'Basic writer-writer-writer', 'Bearer writer-writer-writerx', 'Bearer writer-writer-write',
      'Bearer WRITER-writer-writer', 'Bearer writer-writer-writer reader-reader-reader', 'Bearerwriter-writer-writer', ' Bearer writer-writer-writer', 'Bearer\twriter-writer-writer']) {
      table.push([wrong, 'RELAY_ERR_ADMIN_UNAUTHORIZED', 'RELAY_ERR_ADMIN_UNAUTHORIZED'])
    }
    for (const [authorization, read, write] of table) {
      assert.equal(outcome(access, { authorization }, 'read'), read, authorization)
      assert.equal(outcome(access, { authorization }, 'write'), write, authorization)
    }
  })

  test('with tokens, no address and no host lets anybody in without one, and none keeps a token out', () => {
    for (const remoteAddress of ['127.0.0.1', '::1', '10.0.0.1', undefined]) {
      for (const host of ['localhost', 'example.org', undefined]) {
        assert.equal(outcome(access, { remoteAddress, host }, 'read'), 'RELAY_ERR_ADMIN_UNAUTHORIZED')
        assert.equal(outcome(access, { remoteAddress, host, origin: 'https://example.org', authorization: 'Bearer writer-writer-writer' }, 'write'), undefined)
      }
    }
  })

  test('a token listed twice has the wider of its scopes, in either order', () => {
    for (const scopes of [['read', 'write'], ['write', 'read']] as const) {
      const twice = new AdminAccess(scopes.map(scope => ({ token: 'twice-twice-twice', scope })))
      assert.equal(outcome(twice, { authorization: 'Bearer twice-twice-twice' }, 'write'), undefined)
    }
  })

  test('access is exactly what the list of tokens says', () => {
    const visible = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)), minLength: 16, maxLength: 40 })
    const tokens = fc.array(fc.record<AdminToken>({ token: visible, scope: fc.constantFrom<AdminScope>('read', 'purge', 'write') }), { minLength: 1, maxLength: 8 })
    fc.assert(fc.property(tokens, visible, fc.nat(), fc.constantFrom<AdminScope>('read', 'purge', 'write'), (list, other, index, scope) => {
      const checked = new AdminAccess(list)
      for (const sent of [other, list[index % list.length]?.token ?? '']) {
        const scopes = list.filter(({ token }) => token === sent).map(item => item.scope)
        const expected = scopes.length === 0 ? 'RELAY_ERR_ADMIN_UNAUTHORIZED' : scopes.includes(scope) || scopes.includes('write') ? undefined : 'RELAY_ERR_ADMIN_SCOPE'
        assert.equal(outcome(checked, { authorization: `Bearer ${sent}` }, scope), expected)
      }
    }))
  })

  test('any header is answered with a decision, and no message repeats it', () => {
    fc.assert(fc.property(fc.string(), text => {
      try {
        access.check({ ...LOCAL, authorization: `Bearer secret${text}` }, 'read')
      } catch (error) {
        assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_ADMIN_UNAUTHORIZED')
        assert.doesNotMatch(error.message, /secret/)
      }
    }))
  })
})

suite('without tokens', () => {
  const open = new AdminAccess([])

  test('only this machine, named as such, may ask', () => {
    for (const remoteAddress of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1']) {
      for (const host of ['localhost', 'localhost:9103', 'LOCALHOST:1', '127.0.0.1:9103', '[::1]:9103', '[::1]']) {
        assert.equal(outcome(open, { remoteAddress, host }, 'write'), undefined, `${remoteAddress} ${host}`)
      }
    }
    for (const remoteAddress of ['10.0.0.1', '192.168.127.1', '128.0.0.1', '::2', 'fe80::1', '::ffff:10.0.0.1', '1270.0.0.1', '', undefined]) {
      assert.equal(outcome(open, { remoteAddress }, 'read'), 'RELAY_ERR_ADMIN_LOOPBACK', remoteAddress)
    }
  })

  test('a name that is rebound to this machine does not help a web page', () => {
    for (const host of ['evil.example', 'localhost.evil.example', 'evil.example:9103', '127.0.0.1.evil.example', 'localhost@evil.example', '127.0.0.1:9103.evil.example', '', undefined]) {
      assert.equal(outcome(open, { host }, 'read'), 'RELAY_ERR_ADMIN_LOOPBACK', host)
    }
    for (const origin of ['https://evil.example', 'http://localhost.evil.example', 'null', 'http://localhost:1@evil.example', '']) {
      assert.equal(outcome(open, { origin }, 'read'), 'RELAY_ERR_ADMIN_LOOPBACK', origin)
    }
  })

  test('another port of this machine is another origin, and so is another scheme', () => {
    for (const [host, origin, code] of [
      ['localhost:9103', 'http://localhost:9103', undefined],
      ['LOCALHOST:9103', 'http://localhost:9103', undefined],
      ['[::1]:9103', 'http://[::1]:9103', undefined],
      ['localhost', 'http://localhost', undefined],
      ['localhost:9103', 'http://localhost:3000', 'RELAY_ERR_ADMIN_LOOPBACK'],
      ['localhost:9103', 'http://127.0.0.1:9103', 'RELAY_ERR_ADMIN_LOOPBACK'],
      ['localhost:9103', 'http://localhost', 'RELAY_ERR_ADMIN_LOOPBACK'],
      ['localhost:9103', 'https://localhost:9103', 'RELAY_ERR_ADMIN_LOOPBACK']
    ] as const) for (const scope of ['read', 'write'] as const) assert.equal(outcome(open, { host, origin }, scope), code, `${host} ${origin}`)
  })

  test('what a browser says of the page that asks counts: this origin or none', () => {
    for (const [fetchSite, code] of [
      ['same-origin', undefined],
      ['none', undefined],
      ['same-site', 'RELAY_ERR_ADMIN_LOOPBACK'],
      ['cross-site', 'RELAY_ERR_ADMIN_LOOPBACK'],
      ['', 'RELAY_ERR_ADMIN_LOOPBACK'],
      ['same-origin, cross-site', 'RELAY_ERR_ADMIN_LOOPBACK']
    ] as const) for (const scope of ['read', 'write'] as const) assert.equal(outcome(open, { fetchSite }, scope), code, fetchSite)
  })

  test('a write is nothing a form could send', () => {
    for (const [contentType, requestedWith, code] of [
      ['application/json', undefined, undefined],
      ['Application/JSON; charset=utf-8', undefined, undefined],
      [undefined, 'curl', undefined],
      ['text/plain', 'curl', undefined],
      [undefined, undefined, 'RELAY_ERR_ADMIN_LOOPBACK'],
      ['text/plain', undefined, 'RELAY_ERR_MEDIA_TYPE'],
      ['text/plain; application/json', undefined, 'RELAY_ERR_MEDIA_TYPE'],
      ['application/jsonx', undefined, 'RELAY_ERR_MEDIA_TYPE'],
      ['application/x-www-form-urlencoded', undefined, 'RELAY_ERR_MEDIA_TYPE'],
      ['multipart/form-data; boundary=a', undefined, 'RELAY_ERR_MEDIA_TYPE'],
      ['', undefined, 'RELAY_ERR_MEDIA_TYPE']
    ] as const) {
      assert.equal(outcome(open, { contentType, requestedWith }, 'write'), code, contentType)
      assert.equal(outcome(open, { contentType, requestedWith }, 'read'), undefined, contentType)
    }
  })

  test('a bearer header neither helps nor hurts', () => {
    assert.equal(outcome(open, { authorization: 'Bearer anything-at-all' }, 'write'), undefined)
    assert.equal(outcome(open, { authorization: 'Bearer anything-at-all', remoteAddress: '10.0.0.1' }, 'read'), 'RELAY_ERR_ADMIN_LOOPBACK')
  })
})
