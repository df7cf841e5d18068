// Hands verified media bytes to a <video>, in order, while later ones are still on their way.

/** Bytes appended in one go: small enough for any SourceBuffer quota. */
const APPEND_BYTES = 524_288
/** Seconds kept behind the playing position when the SourceBuffer is full. */
const KEEP_SECONDS = 5

const once = (target, type) => new Promise(resolve => { target.addEventListener(type, resolve, { once: true }) })

/** Streams into a SourceBuffer. `push` and `end` reject when the browser refuses the media. */
class MseFeed {
  name = 'MSE'
  #video
  #source = new window.MediaSource()
  #queue

  constructor (video, contentType) {
    this.#video = video
    const opened = once(this.#source, 'sourceopen')
    video.src = URL.createObjectURL(this.#source)
    this.#queue = opened.then(() => this.#source.addSourceBuffer(contentType))
    this.#queue.catch(() => {})
  }

  push (bytes) {
    this.#queue = this.#queue.then(async buffer => {
      for (let at = 0; at < bytes.length; at += APPEND_BYTES) await this.#append(buffer, bytes.subarray(at, at + APPEND_BYTES))
      return buffer
    })
    return this.#queue
  }

  async end () {
    await this.#queue
    if (this.#source.readyState === 'open') this.#source.endOfStream()
  }

  async #append (buffer, piece) {
    for (;;) {
      try {
        buffer.appendBuffer(piece)
      } catch (error) {
        if (error.name !== 'QuotaExceededError') throw error
        await this.#makeRoom(buffer)
        continue
      }
      const failed = once(buffer, 'error').then(() => { throw new Error('the browser cannot decode this media') })
      failed.catch(() => {})
      await Promise.race([once(buffer, 'updateend'), failed])
      if (this.#video.error !== null) throw new Error(this.#video.error.message)
      return
    }
  }

  // A full buffer empties only as playing goes on, so this waits for the viewer.
  async #makeRoom (buffer) {
    const until = this.#video.currentTime - KEEP_SECONDS
    if (buffer.buffered.length > 0 && until > buffer.buffered.start(0)) {
      const removed = once(buffer, 'updateend')
      buffer.remove(0, until)
      await removed
    } else await once(this.#video, 'timeupdate')
  }
}

/** Keeps the pieces and plays them from a blob once they are complete. */
class BlobFeed {
  name = 'blob'
  #video
  #contentType
  #pieces = []

  constructor (video, contentType) {
    this.#video = video
    this.#contentType = contentType
  }

  async push (bytes) { this.#pieces.push(bytes) }

  async end () {
    this.#video.src = URL.createObjectURL(new window.Blob(this.#pieces, { type: this.#contentType }))
  }
}

/** A feed for `contentType`: MSE where the browser takes the type, a blob URL otherwise or when `blob` is set. */
export function createFeed (video, contentType, blob = false) {
  const streams = !blob && 'MediaSource' in window && MediaSource.isTypeSupported(contentType)
  return streams ? new MseFeed(video, contentType) : new BlobFeed(video, contentType)
}
