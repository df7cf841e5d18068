import { ShardClientError, reasonText } from './client-error.ts'
import type { FileRequestInit } from './file-response.ts'

/** What loaders of players need: a `FileClient`. */
export interface FileFetcher {
  fetch (uri: string, init: FileRequestInit): Promise<Response>
}

export interface PlayerLoad extends FileRequestInit {
  /** The head of the answer is here. */
  readonly onHead?: (response: Response) => void
  /** @param total bytes, as far as the head says */
  readonly onBytes?: (loaded: number, total: number | undefined) => void
}

/** All of an answer. @throws ShardClientError; or the reason of the signal */
export async function loadWhole (fetcher: FileFetcher, uri: string, { onHead, onBytes, ...init }: PlayerLoad): Promise<{ readonly response: Response, readonly data: ArrayBuffer }> {
  const response = await fetcher.fetch(uri, init)
  onHead?.(response)
  const stated = response.headers.get('content-length')
  const total = stated === null ? undefined : Number(stated)
  const parts: Uint8Array[] = []
  let loaded = 0
  const reader = (response.body as ReadableStream<Uint8Array> | null)?.getReader()
  for (let read = await reader?.read(); read !== undefined && !read.done; read = await reader?.read()) {
    parts.push(read.value)
    loaded += read.value.length
    onBytes?.(loaded, total)
  }
  const data = new Uint8Array(loaded)
  let at = 0
  for (const part of parts) {
    data.set(part, at)
    at += part.length
  }
  return { response, data: data.buffer }
}

/** What a player is told of an error: a status where there is one, 0 otherwise. */
export function failureOf (error: unknown): { readonly status: number, readonly text: string } {
  return { status: error instanceof ShardClientError ? error.status ?? 0 : 0, text: reasonText(error) }
}
