import Hls from 'hls.js'
import { connect } from 'icn-relay-client/files'
import { hlsLoader } from 'icn-relay-client/hls'

/** @param uri icn:// of a playlist that names its segments by icn:// too */
export async function play (video, relay, uri) {
  const client = await connect(relay)
  const hls = new Hls({ loader: hlsLoader(client) })
  hls.loadSource(uri)
  hls.attachMedia(video)
  return { client, hls }
}
