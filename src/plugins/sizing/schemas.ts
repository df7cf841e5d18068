import Type from 'typebox'
import { Bytes, Millis } from '../admin/schemas.ts'

const Share = (description: string) => Type.Number({ minimum: 0, maximum: 1, description })

export const CacheCurve = Type.Object({
  bytes: Bytes('bound that is asked for'),
  requests: Type.Integer({ minimum: 0, description: 'requests that the estimate stands for' }),
  sampledShare: Share('share of the objects that is looked at'),
  hitRatio: Type.Union([Share('hits of the cache among the same requests'), Type.Null()], { description: 'null before the first' }),
  points: Type.Array(Type.Object({
    bytes: Bytes('capacity'),
    hitRatio: Share('of the requests'),
    byteHitRatio: Share('of the bytes asked for')
  }), { description: 'by capacity, ascending' }),
  gains: Type.Array(Type.Object({
    bytes: Type.Integer({ description: 'bytes more, or fewer' }),
    points: Type.Number({ description: 'hundredths of the byte hit ratio that they would bring' })
  })),
  sizing: Type.Object({
    enabled: Type.Boolean({ description: 'whether the relay moves the bound by itself' }),
    minBytes: Bytes('`sizing.min_bytes`'),
    maxBytes: Bytes('`sizing.max_bytes`'),
    last: Type.Union([Type.Object({
      at: Millis('when'),
      from: Bytes('bound before'),
      to: Bytes('bound after'),
      reason: Type.Union([Type.Literal('gain'), Type.Literal('no-gain'), Type.Literal('disk'), Type.Literal('bounds')])
    }), Type.Null()], { description: 'the last change that it has made' })
  })
})
