import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bucketsOf, totalOf, totalsBy } from '../../../../src/plugins/summary/totals.ts'

test('series add up by a label, whatever its values are called', () => {
  const series = [{ labels: { node: 'a:1', outcome: 'ok' }, value: 1 }, { labels: { node: 'a:1', outcome: 'failed' }, value: 2 }, { labels: { node: '__proto__' }, value: 4 }, { labels: {}, value: 8 }]
  assert.deepEqual(Object.entries(totalsBy('node', series)), [['a:1', 3], ['__proto__', 4], ['', 8]])
  assert.deepEqual([totalOf(series), totalOf([])], [15, 0])
})

test('buckets add up over the series that have the labels, and end with all there are', () => {
  const bucket = (transport: string, result: string, le: number | '+Inf', value: number) => ({ labels: { transport, result, le }, value })
  const series = [bucket('http', 'hit', 0.1, 1), bucket('http', 'hit', 1, 3), bucket('http', 'hit', '+Inf', 4), bucket('websocket', 'hit', 0.1, 10), bucket('websocket', 'hit', 1, 20), bucket('websocket', 'hit', '+Inf', 30), bucket('http', 'miss', '+Inf', 5)]
  assert.deepEqual(bucketsOf({ result: 'hit' }, [0.1, 1], series), [11, 23, 34])
  assert.deepEqual(bucketsOf({ result: 'miss' }, [0.1, 1], series), [0, 0, 5])
  assert.deepEqual(bucketsOf({ result: 'none' }, [0.1, 1], series), [0, 0, 0])
})
