// The parts of fails-components 1.6.8 that its entry for Node does not export; `fails-components` is its folder, an alias of the build.
import { WebTransportBase } from 'fails-components/webtransportbase.js'
import { HttpClient } from 'fails-components/client.js'
import { HttpWTSession } from 'fails-components/session.js'
import { Http2WebTransportClient } from 'fails-components/http2/node/client.js'

export const parts = { WebTransportBase, HttpClient, HttpWTSession, Http2WebTransportClient }
