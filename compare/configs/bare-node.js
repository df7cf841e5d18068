// The least a Node server can do: shards that are in memory, sent as one buffer.
// Arguments: port, folder of static files, CIDs of the shards it takes into memory.
import { readFileSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

const [port, folder, ...cids] = process.argv.slice(2)
const shards = new Map(cids.flatMap(cid => {
  const shardFolder = join(folder, 'shards', cid)
  return readdirSync(shardFolder).map(name => [`/shards/${cid}/${name}`, readFileSync(join(shardFolder, name))])
}))

createServer((request, response) => {
  const body = shards.get(request.url)
  if (body === undefined) response.writeHead(404).end()
  else response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': body.length }).end(body)
}).listen(Number(port), '127.0.0.1')
