import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { lintFromString, loadConfig } from '@redocly/openapi-core'
import spectralCore from '@stoplight/spectral-core'
import spectralRulesets from '@stoplight/spectral-rulesets'
import { parse } from 'yaml'

const FILE = fileURLToPath(new URL('../../openapi.yaml', import.meta.url))
const REDOCLY = fileURLToPath(new URL('../../redocly.yaml', import.meta.url))

type Ruleset = Parameters<InstanceType<typeof spectralCore.Spectral>['setRuleset']>[0]

/** All of Spectral's rules, not only the recommended ones. */
const SPECTRAL = {
  extends: [[spectralRulesets.oas, 'all']],
  // The maintainers have no address to publish here.
  rules: { 'contact-properties': 'off' }
} as unknown as Ruleset

async function redocly (source: string): Promise<string[]> {
  const config = await loadConfig({ configPath: REDOCLY })
  const problems = await lintFromString({ source, absoluteRef: FILE, config })
  return problems.map(({ severity, ruleId, message, location }) => `${severity} ${ruleId}: ${message} ${location[0]?.pointer ?? ''}`)
}

async function spectral (source: string): Promise<string[]> {
  const linter = new spectralCore.Spectral()
  linter.setRuleset(SPECTRAL)
  const results = await linter.run(parse(source) as Record<string, unknown>)
  return results.map(({ code, message, path }) => `${code}: ${message} ${path.join('/')}`)
}

suite('openapi.yaml under the linters others use', () => {
  test('Redocly finds nothing', async () => {
    assert.deepEqual(await redocly(await readFile(FILE, 'utf8')), [])
  })

  test('Spectral finds nothing', async () => {
    assert.deepEqual(await spectral(await readFile(FILE, 'utf8')), [])
  })

  test('both would: a document without ids, servers and security', async () => {
    const text = await readFile(FILE, 'utf8')
    const faulty = text.replaceAll(/^ {6}operationId: .*\n/gm, '').replace(/^servers:\n(?: .*\n)+/m, '').replaceAll(/^ {6}security: \[\]\n/gm, '')
    const rules = (lines: readonly string[]): string[] => [...new Set(lines.map(line => /^(?:error )?([\w-]+):/.exec(line)?.[1] ?? line))].sort()
    assert.deepEqual(rules(await redocly(faulty)), ['no-empty-servers', 'operation-operationId', 'security-defined'])
    assert.deepEqual(rules(await spectral(faulty)), ['oas3-api-servers', 'operation-operationId'])
  })
})
