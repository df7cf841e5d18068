import Type from 'typebox'

const Viewer = Type.Object({
  id: Type.String(),
  address: Type.String({ description: 'address and port' }),
  transport: Type.String({ description: 'webtransport or websocket' }),
  since: Type.Integer({ description: 'milliseconds since the epoch' }),
  streams: Type.Integer({ minimum: 0, description: 'open now' }),
  streamsTotal: Type.Integer({ minimum: 0, description: 'since the session began' }),
  bytes: Type.Integer({ minimum: 0, description: 'sent to the viewer' }),
  rate: Type.Integer({ minimum: 0, description: 'bytes per second, smoothed over about two heartbeats' }),
  identity: Type.Optional(Type.String({ description: '`sub` of the JWT of its latest request' })),
  class: Type.Optional(Type.String({ description: 'weight class of the token of its latest request' })),
  rttMs: Type.Optional(Type.Number({ description: 'smoothed round trip, where the transport knows it' }))
})

export const ViewerList = Type.Object({ viewers: Type.Array(Viewer) })
