import assert from 'node:assert/strict'
import { test } from 'node:test'
import { schemaCheck } from '../../../src/base/schema-check.ts'

test('a schema is compiled when its check is asked for, and then once', () => {
  const reads = { count: 0 }
  const check = schemaCheck<string>({
    get type () {
      reads.count++
      return 'string'
    }
  })
  assert.equal(reads.count, 0)
  assert.equal(check()('text'), true)
  const { count } = reads
  assert.ok(count > 0)
  assert.deepEqual([check()(1), check().errors?.[0]?.keyword, reads.count], [false, 'type', count])
})

test('a schema that ajv does not understand is an error all the same', () => {
  for (const schema of [{ type: 'number', minimum: 'one' }, { type: 'nothing' }, { maximums: 1 }]) assert.throws(() => schemaCheck(schema)(), JSON.stringify(schema))
})
