/** Loaders of players, with what they use of each player as a fake: what comes, what fails, what is aborted. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ShardClientError } from '../../../client/src/client-error.ts'
import { extendDash } from '../../../client/src/dash.ts'
import { fileResponse, type FileRequestInit } from '../../../client/src/file-response.ts'
import { hlsLoader } from '../../../client/src/hls.ts'
import type { FileFetcher } from '../../../client/src/player-load.ts'
import { registerIcn, type ShakaNamespace } from '../../../client/src/shaka.ts'
import { fileBytes, fileRig, type FileRig } from '../../support/file-rig.ts'
import { until } from '../../support/viewer-rig.ts'

const FILE = fileBytes(700_000)

interface Client extends FileFetcher {
  readonly rig: FileRig
  readonly asked: FileRequestInit[]
}

function clientOf (): Client {
  const rig = fileRig(FILE, { blockSize: 65_536 })
  const asked: FileRequestInit[] = []
  return {
    rig,
    asked,
    fetch: async (uri, init) => {
      asked.push(init)
      if (uri === 'icn://gone') return new Response('{}', { status: 404, statusText: 'Not Found' })
      if (uri === 'icn://unreachable') throw new ShardClientError('connect', 'no relay')
      return fileResponse(rig.file, init)
    }
  }
}

type HlsEvent = readonly [name: string, ...details: unknown[]]

async function hls (client: Client, context: { url: string, responseType: string, rangeStart?: number, rangeEnd?: number }, during: (loader: { abort: () => void, destroy: () => void }) => void = () => {}, maxLoadTimeMs = 60_000) {
  const loader = new (hlsLoader<typeof context>(client))()
  const events: HlsEvent[] = []
  loader.load(context, { loadPolicy: { maxLoadTimeMs } }, {
    onSuccess: ({ data, code }) => { events.push(['success', code, data]) },
    onError: ({ code, text }) => { events.push(['error', code, text]) },
    onTimeout: () => { events.push(['timeout']) },
    onAbort: () => { events.push(['abort']) },
    onProgress: (_stats, _context, data) => { events.push(['progress', typeof data]) }
  })
  during(loader)
  await until(() => events.some(([name]) => name !== 'progress'), 'hls.js hears something')
  await until(() => client.rig.source.underWay === 0, 'nothing is under way')
  return { events, loader }
}

suite('hls.js', () => {
  test('gets ranges, with times and bytes for its estimate', async () => {
    const client = clientOf()
    const { events: [progress, success], loader } = await hls(client, { url: 'icn://film', responseType: 'arraybuffer', rangeStart: 1000, rangeEnd: 400_000 })
    assert.deepEqual([progress, success?.slice(0, 2)], [['progress', 'object'], ['success', 206]])
    assert.ok(Buffer.from(success?.[2] as ArrayBuffer).equals(FILE.subarray(1000, 400_000)))
    const { loaded, total, loading: { start, first, end } } = loader.stats
    assert.deepEqual([loaded, total, start > 0 && first >= start && end >= first], [399_000, 399_000, true])
    assert.equal(loader.getResponseHeader('content-range'), 'bytes 1000-399999/700000')
    loader.abort()
    assert.equal(loader.stats.aborted, false)
    const text = await hls(client, { url: 'icn://list', responseType: 'text' })
    assert.equal(typeof text.events.at(-1)?.[2], 'string')
    assert.deepEqual(client.asked.map(({ priority }) => priority), ['normal', 'urgent'])
  })

  test('hears of failures, of its time limit and of its own aborts, and of nothing after', async () => {
    const client = clientOf()
    assert.deepEqual((await hls(client, { url: 'icn://gone', responseType: 'text' })).events, [['error', 404, 'Not Found']])
    assert.deepEqual((await hls(client, { url: 'icn://unreachable', responseType: 'text' })).events, [['error', 0, 'no relay']])
    client.rig.source.pause = () => new Promise(() => {})
    const aborted = await hls(client, { url: 'icn://film', responseType: 'arraybuffer' }, loader => {
      setImmediate(() => {
        loader.abort()
        loader.abort()
      })
    })
    assert.deepEqual([aborted.events, aborted.loader.stats.aborted], [[['abort']], true])
    assert.deepEqual((await hls(client, { url: 'icn://film', responseType: 'arraybuffer' }, undefined, 5)).events, [['timeout']])
    const destroyed = new (hlsLoader(client))()
    destroyed.destroy()
    assert.equal(destroyed.context, null)
    assert.equal(client.rig.source.underWay, 0)
  })
})

class ShakaError extends Error {
  static readonly Severity = { RECOVERABLE: 1, CRITICAL: 2 }
  static readonly Category = { NETWORK: 1, PLAYER: 7 }
  static readonly Code = { BAD_HTTP_STATUS: 1001, HTTP_ERROR: 1002, OPERATION_ABORTED: 7001 }
  readonly code: number

  constructor (_severity: number, _category: number, code: number) {
    super(`shaka ${code}`)
    this.code = code
  }
}

class FakeOperation {
  readonly promise: Promise<unknown>
  readonly abort: () => Promise<void>

  constructor (promise: Promise<unknown>, abort: () => Promise<void>) {
    this.promise = promise
    this.abort = abort
  }
}

suite('Shaka Player', () => {
  interface Operation { readonly promise: Promise<{ status: number, data: ArrayBuffer, headers: Record<string, string> }>, readonly abort: () => Promise<void> }
  type Plugin = Parameters<ShakaNamespace['net']['NetworkingEngine']['registerScheme']>[1]

  function shakaOf (client: FileFetcher): Plugin {
    const plugins = new Map<string, Plugin>()
    registerIcn({
      net: { NetworkingEngine: { registerScheme: (scheme: string, plugin: Plugin) => { plugins.set(scheme, plugin) }, RequestType: { MANIFEST: 0, SEGMENT: 1 }, PluginPriority: { APPLICATION: 3 } } },
      util: { AbortableOperation: FakeOperation, Error: ShakaError }
    } satisfies ShakaNamespace, client)
    const plugin = plugins.get('icn')
    assert.ok(plugin)
    return plugin
  }

  test('gets ranges and progress; failures and aborts are errors of its own', async () => {
    const client = clientOf()
    const plugin = shakaOf(client)
    let progress = 0
    const get = (uri: string): Operation => plugin(uri, { method: 'GET', headers: { Range: 'bytes=5-300004' } }, 1, (_ms, bytes) => { progress += bytes }) as Operation
    const { status, data, headers } = await get('icn://film').promise
    assert.deepEqual([status, progress, headers['content-range']], [206, 300_000, 'bytes 5-300004/700000'])
    assert.ok(Buffer.from(data).equals(FILE.subarray(5, 300_005)))
    await assert.rejects(get('icn://gone').promise, { code: 1001 })
    await assert.rejects(get('icn://unreachable').promise, { code: 1002 })
    client.rig.source.pause = () => new Promise(() => {})
    const { promise, abort } = get('icn://film')
    setImmediate(() => { void abort() })
    await assert.rejects(promise, { code: 7001 })
    await until(() => client.rig.source.underWay === 0, 'nothing is under way')
  })
})

suite('dash.js', () => {
  interface Loader { load (request: object, response: object): unknown, abort (): void, reset (): void, resetInitialSettings (): void }

  function dashOf (client: FileFetcher): { readonly loader: Loader, readonly before: string[] } {
    const before: string[] = []
    const parent: Loader = { load: () => before.push('load'), abort: () => { before.push('abort') }, reset: () => { before.push('reset') }, resetInitialSettings: () => { before.push('again') } }
    let made: Loader | undefined
    extendDash({
      extend: (name, extension) => {
        assert.equal(name, 'XHRLoader')
        made = (extension as (this: { parent: Loader }) => Loader).call({ parent })
      }
    }, client)
    assert.ok(made)
    return { loader: made, before }
  }

  test('gets ranges and progress, loads the rest itself, and hears of failures and aborts once', async () => {
    const client = clientOf()
    const { loader, before } = dashOf(client)
    const load = async (url: string, more: { readonly stop?: boolean } = {}) => {
      const answer: { status?: number, data?: ArrayBuffer, url?: string } = {}
      const heard: string[] = []
      const customData: { onloadend: () => void, onabort: () => void, onprogress: (event: { loaded: number }) => void, abort?: () => void } = {
        onloadend: () => { heard.push('end') }, onabort: () => { heard.push('abort') }, onprogress: ({ loaded }) => { heard.push(String(loaded)) }
      }
      loader.load({ url, method: 'GET', headers: { Range: 'bytes=0-99999', Empty: '' }, responseType: 'arraybuffer', customData }, answer)
      if (more.stop === true) setImmediate(() => { customData.abort?.() })
      await until(() => url.startsWith('http') || heard.includes('end') || heard.includes('abort'), 'dash.js hears something')
      return { answer, heard }
    }
    const { answer, heard } = await load('icn://film')
    assert.deepEqual([answer.status, answer.url, heard.at(-2), heard.at(-1)], [206, 'icn://film', '100000', 'end'])
    assert.ok(Buffer.from(answer.data ?? new ArrayBuffer(0)).equals(FILE.subarray(0, 100_000)))
    assert.deepEqual([(await load('icn://gone')).answer.status, (await load('icn://unreachable')).answer.status], [404, 0])
    await load('http://elsewhere')
    assert.deepEqual(before, ['load'])
    client.rig.source.pause = () => new Promise(() => {})
    assert.deepEqual((await load('icn://film', { stop: true })).heard, ['abort'])
    loader.reset()
    assert.deepEqual(before, ['load', 'reset'])
    await until(() => client.rig.source.underWay === 0, 'nothing is under way')
  })
})
