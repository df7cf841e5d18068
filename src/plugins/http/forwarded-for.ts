import { isIP } from 'node:net'

/** An IPv4 address with a port, or an IPv6 address in brackets with or without one. */
const WITH_PORT = /^(?:(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}|\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?)$/

/** An `x-forwarded-for` field whose addresses have no ports, which some proxies write: a port does not make another viewer. What is not an address stays. */
export function withoutPorts (field: string): string {
  if (!field.includes(':')) return field
  return field.split(',').map(element => {
    const text = element.trim()
    const [, v4, v6] = WITH_PORT.exec(text) ?? []
    const address = v4 ?? v6
    return address !== undefined && isIP(address) > 0 ? address : text
  }).join(', ')
}
