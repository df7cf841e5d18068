import { connect } from 'icn-relay-client/files'
import { registerIcn } from 'icn-relay-client/shaka'
import shaka from 'shaka-player'

/** @param uri icn:// of a presentation whose BaseURL is icn:// too */
export async function play (video, relay, uri) {
  const client = await connect(relay)
  registerIcn(shaka, client)
  const player = new shaka.Player()
  await player.attach(video)
  await player.load(uri, null, 'application/dash+xml')
  return { client, player }
}
