import { isIP, isIPv4, isIPv6 } from 'node:net'
import { isNetwork } from '../admission/networks.ts'
import { isPrivateHost } from '../base/private-address.ts'
import { LINE_FIELDS, NAMED_FIELD } from '../plugins/access-log/config.ts'
import { tokenNames } from '../plugins/admin/config.ts'
import { NODE_KEYS } from '../plugins/upstream/config.ts'
import { authProblems } from './auth.ts'
import type { Config } from './schema.ts'

/** What the schema cannot express: a sentence for each problem. */
export function crossChecks (config: Config): string[] {
  const problems: string[] = []
  const { cache, upstream, region, viewer, admin, sizing } = config
  if (cache.max_bytes < upstream.max_object_bytes) problems.push('cache.max_bytes must be at least upstream.max_object_bytes, or no object could be stored')
  if (cache.pass_through_bytes < upstream.max_object_bytes) problems.push('cache.pass_through_bytes must be at least upstream.max_object_bytes')
  if (sizing.max_bytes < sizing.min_bytes) problems.push('sizing.max_bytes must be at least sizing.min_bytes')
  if (sizing.enabled && sizing.min_bytes < upstream.max_object_bytes) problems.push('sizing.min_bytes must be at least upstream.max_object_bytes, or no object could be stored')
  if (cache.sync === 'none' && cache.verify_reads === 'never') problems.push('cache.sync = "none" needs cache.verify_reads = "first" or "always": after a power cut, files may have other bytes than were stored')
  cache.ttl.forEach(({ ttl_ms: ttl, stale_while_revalidate_ms: revalidate, stale_if_error_ms: error }, position) => {
    if (ttl === undefined && (revalidate ?? error) !== undefined) problems.push(`cache.ttl.${position} has no ttl_ms, so what it is for never becomes stale, and stale_while_revalidate_ms and stale_if_error_ms say nothing`)
  })
  if (upstream.hedge_max_ms < upstream.hedge_min_ms) problems.push('upstream.hedge_max_ms must be at least upstream.hedge_min_ms')
  if (upstream.backoff_max_ms < upstream.backoff_initial_ms) problems.push('upstream.backoff_max_ms must be at least upstream.backoff_initial_ms')
  if (viewer.port !== 0 && viewer.port === admin.port && viewer.host === admin.host) problems.push('viewer.port and admin.port must differ')
  viewer.trusted_proxies.forEach((text, position) => {
    if (!isNetwork(text)) problems.push(`viewer.trusted_proxies.${position} ${JSON.stringify(text)} must be an IP address, or a network such as 10.0.0.0/8`)
  })
  if (region.override !== '' && !region.regions.includes(region.override)) problems.push(`region.override must be one of ${region.regions.join(', ')}, or empty`)
  const hosts = new Set<string>()
  upstream.super_nodes.forEach((node, position) => {
    if (!region.regions.includes(node.region)) problems.push(`upstream.super_nodes.${position}.region must be one of ${region.regions.join(', ')}`)
    const host = URL.canParse(node.url) ? new URL(node.url).host : undefined
    if (host === undefined) problems.push(`upstream.super_nodes.${position}.url is not a URL`)
    else if (hosts.has(host)) problems.push(`upstream.super_nodes.${position}.url repeats ${host}`)
    else hosts.add(host)
  })
  if (config.process.gateway_user !== '' && config.process.user === '') problems.push('process.gateway_user needs process.user')
  if (config.warm.feed.url !== '' && !URL.canParse(config.warm.feed.url)) problems.push('warm.feed.url is not a URL')
  problems.push(...accessLogProblems(config))
  problems.push(...tierProblems(config), ...p2pProblems(config), ...overloadProblems(config), ...authProblems(config), ...bandwidthProblems(config))
  for (const [name, template] of [['shard_path', upstream.shard_path], ['manifest_path', upstream.manifest_path]] as const) {
    if (!template.includes('{cid}')) problems.push(`upstream.${name} must contain {cid}`)
  }
  if (!/\{nn?\}/.test(upstream.shard_path)) problems.push('upstream.shard_path must contain {n} or {nn}')
  admin.tokens.forEach((item, position) => {
    if ((item.token === undefined) === (item.token_file === undefined)) problems.push(`admin.tokens.${position} must have either token or token_file`)
  })
  tokenNames(admin.tokens).forEach((name, position, names) => {
    if (names.indexOf(name) < position) problems.push(`admin.tokens.${position} has the name ${name}, as another has`)
  })
  return problems
}

/** What the schema cannot express about other relays and names of super-nodes. */
function tierProblems ({ upstream, region, p2p }: Config): string[] {
  const problems: string[] = []
  const known = (path: string, name: string): void => {
    if (!region.regions.includes(name)) problems.push(`${path}.region must be one of ${region.regions.join(', ')}`)
  }
  const siblings = new Set<string>()
  upstream.siblings.forEach(({ url, region: name }, position) => {
    const path = `upstream.siblings.${position}`
    known(path, name)
    const origin = URL.canParse(url) ? new URL(url).origin : undefined
    if (origin === undefined) problems.push(`${path}.url is not a URL`)
    else if (siblings.has(origin)) problems.push(`${path}.url repeats ${origin}`)
    else siblings.add(origin)
  })
  if (upstream.self_url !== '' && !URL.canParse(upstream.self_url)) problems.push('upstream.self_url is not a URL')
  if (upstream.siblings.length > 0 && upstream.self_url === '') problems.push('upstream.self_url must be set beside upstream.siblings, or no key would be ours')
  if (NODE_KEYS.every(key => upstream[key].length === 0) && !p2p.enabled) problems.push(`${NODE_KEYS.map(key => `upstream.${key}`).join(' or ')} must name a super-node`)
  upstream.dns_servers.forEach((server, position) => {
    if (!isNameServer(server)) problems.push(`upstream.dns_servers.${position} must be an IP address, or one with a port, like 127.0.0.1:5353 or [::1]:53`)
  })
  const names = new Set<string>()
  upstream.dns.forEach(({ dns, type, scheme, port, region: name }, position) => {
    const path = `upstream.dns.${position}`
    known(path, name)
    if (type !== 'SRV' && scheme === 'https') problems.push(`${path}.scheme must be http with type ${type}: a certificate is for a name, and addresses have none`)
    if (type === 'SRV' && port !== undefined) problems.push(`${path}.port must not be set with type SRV, whose records name ports`)
    const id = `${type} ${dns.toLowerCase()} ${port ?? ''}`
    if (names.has(id)) problems.push(`${path} repeats ${type} ${dns}`)
    names.add(id)
  })
  return problems
}

/** What the schema cannot express about discovery: holders are believed because a publisher signed, and what they send because its manifest is. */
function p2pProblems ({ p2p, trust, cache }: Config): string[] {
  if (!p2p.enabled) return []
  const problems: string[] = []
  if (trust.publishers.length === 0) problems.push('p2p.enabled needs trust.publishers: whoever it finds is asked because one of them signed it')
  if (cache.integrity !== 'manifest') problems.push('p2p.enabled needs cache.integrity = "manifest": whoever it finds may send anything')
  if (!p2p.allow_private) {
    p2p.bootstrap.forEach((address, position) => {
      if (isPrivateHost(address.split('/')[2] ?? '')) problems.push(`p2p.bootstrap.${position} has an address that is not public, which needs p2p.allow_private = true`)
    })
  }
  return problems
}

/** What the schema cannot express about the levels of overload. */
function overloadProblems ({ overload }: Config): string[] {
  const problems: string[] = []
  if (overload.enter_samples > overload.window_samples) problems.push('overload.enter_samples must be at most overload.window_samples')
  for (const what of ['delay_ms', 'memory_percent', 'load_percent'] as const) {
    if (overload[`shedding_${what}`] < overload[`degraded_${what}`]) problems.push(`overload.shedding_${what} must be at least overload.degraded_${what}`)
  }
  overload.alternates.forEach((url, position) => {
    if (!URL.canParse(url)) problems.push(`overload.alternates.${position} is not a URL`)
  })
  return problems
}

function bandwidthProblems ({ bandwidth }: Config): string[] {
  const problems: string[] = []
  const { viewer_cap_bps: cap, viewer_floor_bps: floor, ladder } = bandwidth
  if (cap > 0 && floor > cap) problems.push('bandwidth.viewer_floor_bps must be at most bandwidth.viewer_cap_bps')
  const names = new Set<string>()
  ladder.forEach(({ rendition, min_bps: needs }, position) => {
    if (names.has(rendition)) problems.push(`bandwidth.ladder.${position}.rendition repeats ${rendition}`)
    names.add(rendition)
    if (needs <= (ladder[position - 1]?.min_bps ?? -1)) problems.push(`bandwidth.ladder.${position}.min_bps must be above that of the rendition before it`)
  })
  return problems
}

function accessLogProblems ({ access_log: { template } }: Config): string[] {
  const known: readonly string[] = LINE_FIELDS
  const unknown = [...template.matchAll(NAMED_FIELD)].map(([, name = '']) => name).filter(name => !known.includes(name))
  return unknown.length === 0 ? [] : [`access_log.template names ${unknown.map(name => JSON.stringify(name)).join(', ')}; there are ${known.join(', ')}`]
}

/** An address, or one with a port, as `Resolver.setServers` of `node:dns` takes it. */
function isNameServer (text: string): boolean {
  if (isIP(text) > 0) return true
  const [, v6, v4, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? []
  return Number(port) > 0 && Number(port) <= 65_535 && (v6 === undefined ? isIPv4(v4 ?? '') : isIPv6(v6))
}
