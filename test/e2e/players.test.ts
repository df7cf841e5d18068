/** The examples of `docs/client.md` for pages: hls.js, Shaka Player, dash.js and no player play a film of a relay in Chromium, with four of its shards gone everywhere. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { mediaCid } from '../../demo/super-node/manifest.ts'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { openBrowser } from '../../tools/harness/browser.ts'
import { withoutChromium } from '../../tools/harness/ci.ts'
import { until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** The first fragments of `demo/media/clip.webm` without its sound, as mediabunny 1.60 writes them. */
const FILM = join(ROOT, 'test/fixtures/two-fragments.mp4')
const CODEC = 'vp09.00.21.08.01.02.02.02.00'
const SECONDS = 3
const LOST = [0, 3, 4, 8]
const PLAYERS = ['hls.js', 'shaka-player', 'dashjs']
const EXAMPLES = ['hls', 'shaka', 'dash', 'video']

function missingPlayer (): string | false {
  const { resolve } = createRequire(import.meta.url)
  const missing = PLAYERS.find(name => {
    try {
      resolve(name)
      return false
    } catch {
      return true
    }
  })
  return missing === undefined ? false : `${missing} is not installed: npm ci`
}

/** First and last byte of the head of the film, and of its fragments. */
function partsOf (film: Buffer): Array<readonly [first: number, last: number]> {
  const starts: number[] = []
  for (let at = 0; at < film.length; at += film.readUInt32BE(at)) if (film.toString('latin1', at + 4, at + 8) === 'moof') starts.push(at)
  return [0, ...starts].map((start, index) => [start, (starts[index] ?? film.length) - 1])
}

const cidOf = (bytes: Uint8Array): string => mediaCid(createHash('sha256').update(bytes).digest())

/** Its page: `?example` of `client/examples/pages` plays there, and `found` is what comes of it. */
const PAGE = `
const { relay, example, uri } = Object.fromEntries(new URLSearchParams(location.search))
const video = document.querySelector('video')
const found = globalThis.found = { errors: [], verified: true, repaired: 0, bytes: 0 }
video.addEventListener('error', () => { found.errors.push(video.error.message) })
const { play } = await { ${EXAMPLES.map(name => `${name}: () => import('./client/examples/pages/${name}.mjs')`).join(', ')} }[example]()
EventTarget.prototype.dispatchEvent = new Proxy(EventTarget.prototype.dispatchEvent, {
  apply (dispatch, target, [event]) {
    if (event.type === 'request' && event.detail) {
      found.verified &&= event.detail.verified
      found.repaired += event.detail.repaired.length
      found.bytes += event.detail.bytes
    }
    return Reflect.apply(dispatch, target, [event])
  }
})
const { hls, player } = await play(video, relay, uri)
hls?.on('hlsError', (_event, { details, error }) => { found.errors.push(details + ' ' + error?.message) })
player?.on?.('error', ({ error }) => { found.errors.push(error.message) })
player?.addEventListener?.('error', ({ detail }) => { found.errors.push(detail.message) })
video.playbackRate = 4
await video.play()
`

test('hls.js, Shaka Player, dash.js and a plain video element play to the end with four shards gone', { timeout: 300_000, skip: withoutChromium() || missingPlayer() }, async t => {
  const directory = await temporaryDirectory(t)
  const film = await readFile(FILM)
  const uri = `icn://${cidOf(film)}`
  const [head, ...fragments] = partsOf(film)
  assert.ok(head !== undefined && fragments.length === 2)
  const durations = [2, 1]
  const playlist = ['#EXTM3U', '#EXT-X-VERSION:7', '#EXT-X-TARGETDURATION:2', '#EXT-X-PLAYLIST-TYPE:VOD', `#EXT-X-MAP:URI="${uri}",BYTERANGE="${head[1] + 1}@0"`,
    ...fragments.flatMap(([first, last], index) => [`#EXTINF:${durations[index]},`, `#EXT-X-BYTERANGE:${last - first + 1}@${first}`, uri]), '#EXT-X-ENDLIST', ''].join('\n')
  const timeline = durations.map(duration => `<S d="${duration}"/>`).join('')
  const presentation = `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT${SECONDS}S" minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:full:2011"><Period>` +
    `<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="900000" codecs="${CODEC}" width="640" height="360"><BaseURL>${uri}</BaseURL><SegmentList><Initialization range="0-${head[1]}"/>` +
    `<SegmentTimeline>${timeline}</SegmentTimeline>${fragments.map(([first, last]) => `<SegmentURL mediaRange="${first}-${last}"/>`).join('')}</SegmentList></Representation></AdaptationSet></Period></MPD>`
  const texts = { 'film.m3u8': playlist, 'film.mpd': presentation }
  for (const [name, text] of Object.entries(texts)) await writeFile(join(directory, name), text)

  const node = await startSuperNode({ port: 0, media: [FILM, ...Object.keys(texts).map(name => join(directory, name))] })
  t.after(async () => { await node.close() })
  node.setFaults({ match: LOST.map(index => `${cidOf(film).slice(-8)}/shard_0${index}.bin`).join('|'), notFound: true })
  const { viewerUrl } = await startRelay(t, [{ url: node.url, region: 'NA-WEST' }])

  const { outputFiles } = await build({
    stdin: { contents: PAGE, resolveDir: ROOT, sourcefile: 'page.js' }, outdir: directory, bundle: true, splitting: true, format: 'esm', platform: 'browser', target: 'chrome114', write: false, logLevel: 'silent'
  })
  const files = new Map(outputFiles.map(({ path, contents }) => [basename(path), contents]))
  const server = createServer(({ url = '/' }, response) => {
    const script = files.get(basename(new URL(url, 'http://page').pathname))
    response.setHeader('content-type', script === undefined ? 'text/html' : 'text/javascript')
    response.end(script ?? '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><video muted></video><script type="module" src="stdin.js"></script>')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo

  const page = await openBrowser(t)
  for (const example of EXAMPLES) {
    const source = cidOf(example === 'video' ? film : Buffer.from(example === 'hls' ? playlist : presentation))
    await page.goto(`http://127.0.0.1:${port}/?${String(new URLSearchParams({ relay: viewerUrl, example, uri: `icn://${source}` }))}`)
    interface Found { readonly errors: readonly string[], readonly verified: boolean, readonly repaired: number, readonly bytes: number, readonly ended: boolean, readonly at: number }
    const found = await until(
      async () => await page.evaluate<Found>('({ ...globalThis.found, ended: document.querySelector("video").ended, at: document.querySelector("video").currentTime })'),
      ({ ended, errors = [] }) => ended || errors.length > 0
    )
    t.diagnostic(`${example}: ${JSON.stringify(found)}`)
    assert.deepEqual([found.errors, found.ended, found.verified], [[], true, true], example)
    assert.ok(found.repaired > 0 && found.at > SECONDS - 0.5 && found.bytes >= film.length, example)
  }
})
