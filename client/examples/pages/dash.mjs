import { MediaPlayer } from 'dashjs'
import { extendDash } from 'icn-relay-client/dash'
import { connect } from 'icn-relay-client/files'

/** @param uri icn:// of a presentation whose BaseURL is icn:// too */
export async function play (video, relay, uri) {
  const client = await connect(relay)
  const player = MediaPlayer().create()
  extendDash(player, client)
  player.initialize(video, uri, true)
  return { client, player }
}
