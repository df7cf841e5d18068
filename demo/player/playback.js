// Plays the pieces of a video in order as they become available.

import { createFeed } from './media-feed.js'

/** A browser that refuses the stream gets the whole video at the end. */
export class Playback {
  #video
  #manifest
  #pieces
  #feed
  #next = 0
  #refused = false

  constructor (video, manifest) {
    this.#video = video
    this.#manifest = manifest
    this.#pieces = new Array(manifest.dataShards)
    this.#feed = createFeed(video, manifest.contentType)
  }

  /** `MSE` or `blob`. */
  get feed () { return this.#feed.name }

  /** Whether it plays what has come while the rest is on its way. */
  get streams () { return this.feed === 'MSE' && !this.#refused }

  /** Takes the verified data shard `index`; plays it once all before it are there. */
  add (index, bytes) {
    const { shardSize, size } = this.#manifest
    // The padding of the last shards is not media.
    this.#pieces[index] = bytes.subarray(0, Math.max(0, Math.min(shardSize, size - index * shardSize)))
    for (; this.#pieces[this.#next] !== undefined; this.#next++) {
      // finish() meets the same refusal and falls back; here it only must not go unhandled.
      this.#feed.push(this.#pieces[this.#next]).catch(() => { this.#refused = true })
    }
  }

  /** Ends the media after the last piece. @throws what the browser says of media it cannot play */
  async finish () {
    try {
      await this.#feed.end()
    } catch {
      this.#feed = createFeed(this.#video, this.#manifest.contentType, true)
      for (const piece of this.#pieces) await this.#feed.push(piece)
      await this.#feed.end()
    }
  }
}
