import { readFileSync } from 'node:fs'
import { SourceMap, type SourceMapPayload } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface Place {
  readonly url: string
  /** From 0. */
  readonly lineNumber: number
  /** From 0; the beginning of the line when it is not known. */
  readonly columnNumber?: number
}

function readMap (url: string): SourceMap | undefined {
  if (!url.startsWith('file:')) return undefined
  try {
    return new SourceMap(JSON.parse(readFileSync(`${fileURLToPath(url)}.map`, 'utf8')) as SourceMapPayload)
  } catch {
    return undefined
  }
}

/** Says where in the sources a place of a built file is, by the source map beside it; a place without one stays what it is. */
export function sourcePlaces (): (place: Place) => Place {
  const maps = new Map<string, SourceMap | undefined>()
  return place => {
    if (!maps.has(place.url)) maps.set(place.url, readMap(place.url))
    const entry = maps.get(place.url)?.findEntry(place.lineNumber, place.columnNumber ?? 0)
    return entry !== undefined && 'originalSource' in entry ? { url: new URL(entry.originalSource, place.url).href, lineNumber: entry.originalLine } : place
  }
}
