import { fetchHashed, inParallel } from '../tools/harness/http.ts'
import type { Mix } from './request-mix.ts'

const WIDTH = 8

/** Fetches everything a mix lists, so that it is in the cache. @throws Error when something cannot be had */
export async function warm (viewerUrl: string, mix: Mix): Promise<void> {
  if (mix.kind === 'fresh') return
  await inParallel(mix.requests, WIDTH, async ({ path }) => {
    const { status } = await fetchHashed(viewerUrl + path)
    if (status !== 200) throw new Error(`warming ${path} was answered with ${status}`)
  })
}
