/** What `deploy/` has for containers, Kubernetes and log files, as far as it can be told without them: it fits the relay, and its parts fit each other. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse as parseToml } from 'smol-toml'
import { parse as parseYaml, parseAllDocuments } from 'yaml'
import { checkConfig, defaultConfig, type Config } from '../../src/config/config.ts'
import { startProblems } from '../../src/cli/start-check.ts'

const ROOT = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8')
const exists = (path: string): boolean => existsSync(new URL(path, ROOT))

const DOCKERFILE = read('deploy/docker/Dockerfile')
const DEFAULTS = defaultConfig()
/** What containers listen on: protocol by port. */
const PORTS = [`${DEFAULTS.viewer.port}/tcp`, `${DEFAULTS.viewer.port}/udp`, `${DEFAULTS.viewer.websocket_port}/tcp`, `${DEFAULTS.admin.port}/tcp`]

/** What a relay of the kit would start with. */
function kitConfig (text: string): Config {
  const config = checkConfig(parseToml(text))
  assert.deepEqual(startProblems(config, Number.POSITIVE_INFINITY), [])
  assert.deepEqual([config.viewer.port, config.viewer.websocket_port, config.admin.port, config.cache.path], [9003, 9004, 9103, '/var/cache/icn-relay'])
  return config
}

/** Seconds that a stop takes at most: both times, and those after which the relay gives up. */
const stopSeconds = ({ viewer }: Config): number => (viewer.lame_duck_ms + viewer.stop_timeout_ms + 5_000) / 1_000

suite('the image', () => {
  const stages = [...DOCKERFILE.matchAll(/^FROM \S+ AS (\S+)$/gm)].map(([, name = '']) => name)
  const relay = DOCKERFILE.slice(DOCKERFILE.indexOf('FROM base AS relay'))

  test('is copied together from stages and files that there are', () => {
    assert.deepEqual(stages, ['base', 'build', 'super-node', 'pruned', 'relay'])
    const copies = [...DOCKERFILE.matchAll(/^COPY (?:--from=(\S+) )?(.+) \S+$/gm)]
    assert.ok(copies.length >= 8)
    const ignored = read('deploy/docker/Dockerfile.dockerignore').split('\n')
    for (const [, from, paths = ''] of copies) {
      assert.ok(from === undefined || stages.includes(from), from)
      for (const path of paths.split(' ').map(text => text.replace(/^\/src\//, ''))) {
        if (/(?:^|\/)(?:dist|node_modules)$/.test(path)) continue
        assert.ok(exists(path) && !ignored.includes(path), path)
      }
    }
    for (const needed of ['src', 'client', 'scripts', 'demo', 'tsconfig.json']) assert.ok(!ignored.includes(needed), needed)
  })

  test('runs the program of the package behind an init, as nobody of importance, on the ports of the defaults', () => {
    const { bin } = JSON.parse(read('package.json')) as { bin: Record<string, string> }
    const entry = /^ENTRYPOINT (\[.*\])$/m.exec(relay)?.[1] ?? ''
    assert.deepEqual(JSON.parse(entry), ['/usr/bin/tini', '--', 'node', `/opt/icn-relay/${bin['icn-relay'] ?? ''}`])
    assert.match(relay, /^USER (?!0\b)\d+:(?!0\b)\d+$/m)
    assert.deepEqual(/^EXPOSE (.+)$/m.exec(relay)?.[1]?.split(' '), PORTS)
    assert.ok(relay.includes(`http://127.0.0.1:${DEFAULTS.admin.port}/health`))
    assert.match(DOCKERFILE, /^ARG BASE=\S+-trixie-slim$/m)
  })
})

interface Service {
  readonly image?: string
  readonly build?: { readonly context: string, readonly dockerfile: string, readonly target: string }
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly secrets?: readonly string[]
  readonly depends_on?: readonly string[]
  readonly command?: readonly string[]
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly stop_grace_period?: string
}

suite('compose.yaml', () => {
  const compose = parseYaml(read('deploy/compose/compose.yaml'), { merge: true }) as { services: Record<string, Service>, volumes: Record<string, unknown>, secrets: Record<string, unknown> }
  const config = kitConfig(read('deploy/compose/relay.toml'))

  test('every file, volume, secret, stage and service that it names is there', () => {
    assert.deepEqual(Object.keys(compose.services), ['super-node-1', 'super-node-2', 'super-node-3', 'relay', 'prometheus', 'grafana'])
    for (const [name, { build, image, volumes = [], secrets = [], depends_on: needs = [] }] of Object.entries(compose.services)) {
      assert.equal((build === undefined) !== (image === undefined), true, name)
      if (build !== undefined) assert.ok(exists(`deploy/compose/${build.context}/${build.dockerfile}`) && DOCKERFILE.includes(` AS ${build.target}\n`), name)
      if (image !== undefined) assert.match(image, /^[a-z]+\/[a-z]+:v?\d+\.\d+\.\d+$/)
      for (const volume of volumes) {
        const [source = ''] = volume.split(':')
        assert.ok(source.startsWith('.') ? exists(`deploy/compose/${source}`) : source in compose.volumes, volume)
      }
      for (const secret of secrets) assert.ok(secret in compose.secrets)
      for (const other of needs) assert.ok(other in compose.services)
    }
  })

  test('the relay has its configuration, its super-nodes, the time that it takes to stop, and nothing to write to but its cache', () => {
    const relay = compose.services['relay']
    assert.deepEqual([relay?.read_only, relay?.cap_drop], [true, ['ALL']])
    assert.ok(Number.parseInt(relay?.stop_grace_period ?? '', 10) > stopSeconds(config))
    assert.deepEqual(relay?.ports?.map(port => port.replace(/^127\.0\.0\.1:/, '').replace(/^\d+:/, '')), PORTS)
    assert.deepEqual(config.admin.tokens.map(({ token_file: file }) => file), [`/run/secrets/${relay?.secrets?.[0] ?? ''}`])
    for (const { url, region } of config.upstream.super_nodes) {
      const { hostname, port } = new URL(url)
      const command = compose.services[hostname]?.command ?? []
      assert.deepEqual([command[command.indexOf('--port') + 1], command[command.indexOf('--region') + 1]], [port, region])
      assert.ok(exists(command[command.indexOf('--media') + 1] ?? ''))
    }
  })

  test('Prometheus scrapes the relay, and Grafana asks that Prometheus and shows the dashboard', () => {
    const { rule_files: rules, scrape_configs: [scrape] } = parseYaml(read('deploy/compose/prometheus.yml')) as { rule_files: string[], scrape_configs: { job_name: string, static_configs: { targets: string[] }[] }[] }
    assert.deepEqual([rules, scrape?.job_name, scrape?.static_configs[0]?.targets], [['icn-relay.rules.yml'], 'icn-relay', [`relay:${DEFAULTS.admin.port}`]])
    const { datasources: [source] } = parseYaml(read('deploy/compose/grafana/datasource.yaml')) as { datasources: { type: string, url: string }[] }
    assert.deepEqual([source?.type, source?.url], ['prometheus', 'http://prometheus:9090'])
    const { providers: [provider] } = parseYaml(read('deploy/compose/grafana/dashboards.yaml')) as { providers: { options: { path: string } }[] }
    assert.ok(compose.services['grafana']?.volumes?.some(volume => volume.includes(`:${provider?.options.path ?? ''}/`)))
  })
})

const CHART = 'deploy/helm/icn-relay'

/** A template as YAML with something in the place of each value: enough to see that it is well-formed. */
function rendered (text: string): Record<string, unknown>[] {
  const filled = text
    .replace(/^( *)\{\{-? *(?:if|with|end|define)\b.*?\}\}\n/gm, '')
    .replace(/\{\{- (?:include "icn-relay\.\w+" \.|toYaml \S+) \| nindent (\d+) \}\}/g, (_all, indent: string) => `\n${' '.repeat(Number(indent))}filled: in`)
    .replace(/\{\{- \.Values\.config \| nindent (\d+) \}\}/g, (_all, indent: string) => `\n${' '.repeat(Number(indent))}text`)
    .replace(/\{\{.*?\}\}/g, 'x')
  const documents = parseAllDocuments(filled)
  return (Array.isArray(documents) ? documents : []).map(document => {
    assert.deepEqual(document.errors, [], filled)
    return document.toJS() as Record<string, unknown>
  })
}

suite('the chart', () => {
  const values = parseYaml(read(`${CHART}/values.yaml`)) as Record<string, unknown>
  const templates = readdirSync(new URL(`${CHART}/templates/`, ROOT)).map(name => ({ name, text: read(`${CHART}/templates/${name}`) }))
  const all = templates.map(({ text }) => text).join('\n')
  const config = kitConfig(values['config'] as string)

  test('every value that a template names is in values.yaml, and every one there is used', () => {
    const valueAt = (path: string): unknown => path.split('.').reduce<unknown>((tree, key) => (tree as Record<string, unknown> | undefined)?.[key], values)
    const named = new Set([...all.matchAll(/\.Values\.([\w.]+)/g)].map(([, path = '']) => path))
    for (const path of named) assert.notEqual(valueAt(path), undefined, path)
    for (const key of Object.keys(values)) assert.ok([...named].some(path => path === key || path.startsWith(`${key}.`)), key)
    for (const [, helper = ''] of all.matchAll(/include "([\w.-]+)"/g)) assert.ok(all.includes(`define "${helper}"`), helper)
    for (const { name, text } of templates) assert.equal(text.match(/\{\{-? *(?:if|with|define)\b/g)?.length, text.match(/\{\{-? *end\b/g)?.length, name)
  })

  test('its objects are well-formed, and the pod is what the relay needs', () => {
    const kinds = templates.filter(({ name }) => name.endsWith('.yaml')).flatMap(({ text }) => rendered(text))
    assert.deepEqual(kinds.map(({ kind }) => kind).sort(), ['ConfigMap', 'Service', 'Service', 'ServiceMonitor', 'StatefulSet'])
    interface Pod { spec: { template: { spec: { enableServiceLinks: boolean, containers: { ports: { name: string, containerPort: number, protocol: string }[], securityContext: { readOnlyRootFilesystem: boolean }, livenessProbe: { httpGet: { path: string, port: string } }, readinessProbe: { httpGet: { path: string, port: string } }, volumeMounts: { mountPath: string }[] }[] } } } }
    const { spec: { template: { spec: pod } } } = kinds.find(({ kind }) => kind === 'StatefulSet') as unknown as Pod
    const [container] = pod.containers
    assert.equal(pod.enableServiceLinks, false)
    assert.deepEqual(container?.ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol.toLowerCase()}`), PORTS)
    assert.deepEqual([container?.livenessProbe.httpGet, container?.readinessProbe.httpGet], [{ path: '/health', port: 'admin' }, { path: '/ready', port: 'admin' }])
    assert.equal(container?.securityContext.readOnlyRootFilesystem, true)
    for (const path of [config.cache.path, ...config.admin.tokens.map(({ token_file: file = '' }) => file)]) assert.ok(container?.volumeMounts.some(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`)), path)
    assert.ok(Number(values['terminationGracePeriodSeconds']) > stopSeconds(config))
    const names = new Set(container?.ports.map(({ name }) => name))
    for (const [, port = ''] of all.matchAll(/targetPort: (\S+)/g)) assert.ok(names.has(port), port)
  })

  test('it has the version of the package', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string }
    const chart = parseYaml(read(`${CHART}/Chart.yaml`)) as { name: string, appVersion: string }
    assert.deepEqual([chart.name, chart.appVersion], ['icn-relay', version])
  })
})

test('logrotate takes its file, and the relay is told by the signal that opens files anew', t => {
  const file = 'deploy/logrotate.conf'
  assert.match(read(file), /--signal=SIGUSR1 icn-relay\.service/)
  assert.ok(exists('deploy/icn-relay.service'))
  const { error, stderr } = spawnSync('logrotate', ['-d', fileURLToPath(new URL(file, ROOT))], { encoding: 'utf8', timeout: 20_000 })
  if (error !== undefined) return t.diagnostic('logrotate is not installed')
  assert.doesNotMatch(stderr, /^error:/m)
})
