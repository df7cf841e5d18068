// Keeps to what the relay says of the bandwidth. The clip has one rendition, so there is no smaller one to change to: what is left to a player is to
// fetch one shard at a time and none further ahead than it needs.

/** Seconds of the suggested bitrate that are fetched ahead of the playing position. A film would take 10 to 30; the sample clip has 10 in all. */
const AHEAD_SECONDS = 4

/** Decides when each data shard of a load may be asked for; `data-ahead` is the most bytes that were fetched or asked for ahead of playing. */
export class Pace {
  #state
  #video
  #playback
  #manifest
  #signal
  #waiting = new Map()
  #underWay = new Set()
  #ahead = 0

  constructor (state, video) {
    this.#state = state
    this.#video = video
    for (const type of ['timeupdate', 'seeked', 'ended', 'error']) video.addEventListener(type, () => { this.#look() })
  }

  /** @param signal what the relay suggests; undefined when nothing limits the viewer */
  suggest (signal) {
    this.#signal = signal
    this.#look()
  }

  /** A load begins. @param playback undefined when nothing is played */
  begin (manifest, playback) {
    this.#manifest = manifest
    this.#playback = playback
    this.#waiting.clear()
    this.#underWay.clear()
    this.#ahead = 0
    this.#state.ahead = '0'
  }

  /** Resolves when shard `index` may be asked for. */
  whenToFetch (index) {
    return new Promise(resolve => {
      this.#waiting.set(index, resolve)
      this.#look()
    })
  }

  /** Shard `index` has come, or will not come. */
  settled (index) {
    this.#underWay.delete(index)
    this.#look()
  }

  #look () {
    for (const [index, start] of [...this.#waiting].sort(([one], [other]) => one - other)) {
      if (!this.#allowed(index)) return
      this.#waiting.delete(index)
      this.#underWay.add(index)
      if (this.#waitsForVideo()) this.#note((index + 1) * this.#manifest.shardSize - this.#played())
      start()
    }
  }

  #allowed (index) {
    if (this.#signal === undefined) return true
    if (this.#underWay.size > 0) return false
    return !this.#waitsForVideo() || index * this.#manifest.shardSize <= this.#played() + AHEAD_SECONDS * this.#signal.bitsPerSecond / 8
  }

  /** A browser that plays the video only when it has all of it would wait for ever. */
  #waitsForVideo () {
    return this.#playback !== undefined && this.#playback.streams && this.#video.error === null
  }

  /** Bytes of the media up to the playing position. */
  #played () {
    const { currentTime, duration } = this.#video
    return duration > 0 && Number.isFinite(duration) ? Math.min(1, currentTime / duration) * this.#manifest.size : 0
  }

  #note (bytes) {
    this.#ahead = Math.max(this.#ahead, Math.round(bytes))
    this.#state.ahead = `${this.#ahead}`
  }
}
