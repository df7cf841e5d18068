/**
 * Loaded before a relay (`--import`), makes every byte it sends over HTTP cost about three times its CPU, as a careless change would: each
 * body is digested twice on its way. How the gate of the ratio baseline is tried out.
 */
import { createHash } from 'node:crypto'
import { ServerResponse } from 'node:http'

for (const name of ['write', 'end']) {
  const send = ServerResponse.prototype[name]
  ServerResponse.prototype[name] = function (chunk, ...rest) {
    if (chunk instanceof Uint8Array) for (let time = 0; time < 2; time++) createHash('sha512').update(chunk).digest()
    return send.call(this, chunk, ...rest)
  }
}
