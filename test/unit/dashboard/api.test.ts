import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Api, ApiError, type Ask } from '../../../dashboard/src/model/api.ts'

type Init = Parameters<Ask>[1]

function rig (respond: (url: string, init: Init) => Response | Promise<Response>) {
  const asked: { readonly url: string, readonly init: Init }[] = []
  const api = new Api(async (url, init) => {
    asked.push({ url, init })
    return await respond(url, init)
  })
  return { api, asked }
}

const json = (value: unknown, status = 200, headers: Record<string, string> = {}): Response => new Response(JSON.stringify(value), { status, headers })

const failed = async (work: Promise<unknown>): Promise<unknown[]> => await work.then(() => [], (error: unknown) => error instanceof ApiError ? [error.status, error.code, error.message, error.retryAfterMs] : [error])

suite('the admin API as the page asks it', () => {
  test('a token goes into the header, and nowhere else', async () => {
    const { api, asked } = rig(() => json({ ok: 1 }))
    await api.get('/summary')
    api.use('a-token-of-an-operator')
    assert.deepEqual(await api.write('POST', '/cache/purge', { all: true }), { ok: 1 })
    assert.deepEqual(asked.map(({ url, init: { headers, method, credentials, redirect, cache } }) => [url, method, headers['authorization'], headers['content-type'], headers['x-requested-with'], credentials, redirect, cache]), [
      ['/admin/v1/summary', 'GET', undefined, undefined, 'icn-relay dashboard', 'omit', 'error', 'no-store'],
      ['/admin/v1/cache/purge', 'POST', 'Bearer a-token-of-an-operator', 'application/json', 'icn-relay dashboard', 'omit', 'error', 'no-store']
    ])
    assert.equal(JSON.stringify(asked.map(({ url, init: { body } }) => [url, body])).includes('a-token'), false)
    api.use(undefined)
    await api.get('/summary')
    assert.equal(asked.at(-1)?.init.headers['authorization'], undefined)
  })

  test('what a header cannot carry is no token, and the one of before stays', () => {
    const { api } = rig(() => json({}))
    api.use('good')
    for (const text of ['', 'two words', 'line\nbreak', 'é', 'x'.repeat(513)]) assert.throws(() => { api.use(text) }, ApiError)
    assert.equal(api.hasToken, true)
  })

  test('a refusal has its code and its reason, and says when to come back', async () => {
    const { api } = rig(() => json({ code: 'RELAY_ERR_RATE_LIMITED', detail: 'more than 600' }, 429, { 'retry-after': '7' }))
    assert.deepEqual(await failed(api.get('/x')), [429, 'RELAY_ERR_RATE_LIMITED', 'more than 600', 7_000])
    const { api: odd } = rig(() => new Response('<h1>Bad gateway</h1>', { status: 502 }))
    assert.deepEqual(await failed(odd.get('/x')), [502, 'HTTP 502', 'the answer does not say why', undefined])
    const { api: lying } = rig(() => json({ code: 5, detail: {} }, 500))
    assert.deepEqual(await failed(lying.get('/x')), [500, 'HTTP 500', 'the answer does not say why', undefined])
  })

  test('no answer, one that is no JSON, and one that is given up are told apart', async () => {
    const { api: gone } = rig(() => { throw new TypeError('Failed to fetch') })
    assert.deepEqual((await failed(gone.get('/x'))).slice(0, 2), [0, 'UNREACHABLE'])
    const { api: cut } = rig(() => new Response('{"a":'))
    assert.deepEqual((await failed(cut.get('/x'))).slice(0, 2), [0, 'UNREACHABLE'])
    const { api: hung } = rig(async (_url, { signal }) => await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) }))
    const controller = new AbortController()
    const given = failed(hung.get('/x', controller.signal))
    controller.abort()
    assert.deepEqual((await given).slice(0, 2), [0, 'ABORTED'])
  })

  test('a stream is text in pieces, whole characters, and whoever stops reading ends it', async () => {
    let cancelled = false
    const bytes = new TextEncoder().encode('data: ü\n\n')
    const { api } = rig(() => new Response(new ReadableStream<Uint8Array>({
      start: controller => { for (const byte of bytes) controller.enqueue(Uint8Array.of(byte)) },
      cancel: () => { cancelled = true }
    })))
    let text = ''
    for await (const piece of api.stream('/log/stream', new AbortController().signal)) {
      text += piece
      if (text.endsWith('\n\n')) break
    }
    assert.equal(text, 'data: ü\n\n')
    await new Promise(resolve => { setImmediate(resolve) })
    assert.equal(cancelled, true)
  })
})
