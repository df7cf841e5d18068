import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'

/** How often a connection is looked at within the time a head has. */
const LOOKS = 4

/**
 * Ends an HTTP/2 connection whose peer begins a request head and does not end it in time, whatever else the connection carries: Node tells of a request only
 * when its head is whole, and takes what is sent for it as life of the connection. No other frame may come within a head (RFC 9113 §4.3), so a ping that is
 * answered tells that it is over, refused before anybody heard of it.
 * @param limitMs time for a head
 */
export function endUnfinishedHeads (session: ServerHttp2Session, limitMs: number): void {
  /** Streams up to this one have a whole head, or none that is still coming. */
  let whole = 0
  let unfinished = 0
  let looks = 0
  session.on('stream', ({ id = 0 }: ServerHttp2Stream) => { whole = Math.max(whole, id) })
  const look = (): void => {
    const begun = session.state.lastProcStreamID ?? 0
    if (begun <= whole) {
      unfinished = 0
      return
    }
    if (begun !== unfinished) {
      unfinished = begun
      looks = 0
      session.ping(error => { if (error === null) whole = Math.max(whole, begun) })
      return
    }
    if (++looks < LOOKS) return
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    session.destroy()
  }
  const looking = setInterval(look, limitMs / LOOKS).unref()
  session.once('close', () => { clearInterval(looking) })
}
