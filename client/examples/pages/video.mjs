import { connect } from 'icn-relay-client/files'

/** A clip that fits into memory, without a player. */
export async function play (video, relay, uri) {
  const client = await connect(relay)
  const file = await client.open(uri)
  video.src = URL.createObjectURL(new Blob([await file.bytes()], { type: file.type }))
  return { client }
}
