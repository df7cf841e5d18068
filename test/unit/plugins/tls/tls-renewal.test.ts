import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CREATE_NEXT_MS, LAST_MOMENT_MS, nextAction, PUBLISH_MS, SWITCH_MS, type Validity } from '../../../../src/plugins/tls/renewal.ts'
import { BACKDATE_MS, VALIDITY_MS } from '../../../../src/plugins/tls/self-signed.ts'

const DAY = 86_400_000
const created = (at: number): Validity => ({ notBefore: at - BACKDATE_MS, notAfter: at - BACKDATE_MS + VALIDITY_MS })

test('with nothing, with an expired or a future certificate, one is created immediately', () => {
  const current = created(0)
  for (const now of [current.notAfter, current.notAfter + 1, current.notBefore - 1]) {
    assert.deepEqual(nextAction(now, { current, next: undefined }), { do: 'create-current' })
  }
  assert.deepEqual(nextAction(0, { current: undefined, next: undefined }), { do: 'create-current' })
})

test('a next certificate that is valid replaces an expired one instead of a third', () => {
  const current = created(0)
  const next = created(current.notAfter - 2 * DAY)
  assert.deepEqual(nextAction(current.notAfter, { current, next }), { do: 'switch' })
  assert.deepEqual(nextAction(current.notAfter, { current: undefined, next }), { do: 'switch' })
})

test('the next one is created 3 days before the end and takes over 1 day before', () => {
  const current = created(0)
  const createAt = current.notAfter - CREATE_NEXT_MS
  assert.deepEqual(nextAction(0, { current, next: undefined }), { do: 'wait', until: createAt })
  assert.deepEqual(nextAction(createAt - 1, { current, next: undefined }), { do: 'wait', until: createAt })
  assert.deepEqual(nextAction(createAt, { current, next: undefined }), { do: 'create-next' })
  const next = created(createAt)
  assert.deepEqual(nextAction(createAt, { current, next }), { do: 'wait', until: current.notAfter - SWITCH_MS })
  assert.deepEqual(nextAction(current.notAfter - SWITCH_MS, { current, next }), { do: 'switch' })
})

test('a next one created late is published for an hour first, but never past the end of the current', () => {
  const current = created(0)
  const late = created(current.notAfter - 5 * 3_600_000)
  assert.deepEqual(nextAction(late.notBefore + BACKDATE_MS, { current, next: late }), { do: 'wait', until: late.notBefore + BACKDATE_MS + PUBLISH_MS })
  const tooLate = created(current.notAfter - 600_000)
  assert.deepEqual(nextAction(tooLate.notBefore + BACKDATE_MS, { current, next: tooLate }), { do: 'wait', until: current.notAfter - LAST_MOMENT_MS })
})

test('over a year of virtual time and any sleeps: always a valid certificate, always published before it is served', () => {
  const sleeps = fc.array(fc.oneof(fc.integer({ min: 0, max: 3_600_000 }), fc.integer({ min: 0, max: 2 * DAY }), fc.integer({ min: 0, max: 40 * DAY })), { minLength: 1, maxLength: 120 })
  fc.assert(fc.property(sleeps, delays => {
    let now = 1_700_000_000_000
    let current: Validity | undefined
    let next: { validity: Validity, publishedAt: number } | undefined
    for (const delay of [0, ...delays]) {
      now += delay
      for (let steps = 0; ; steps++) {
        assert.ok(steps < 4, 'the decisions come to rest')
        const action = nextAction(now, { current, next: next?.validity })
        if (action.do === 'wait') {
          assert.ok(action.until > now)
          break
        }
        if (action.do === 'create-current') {
          current = created(now)
          next = undefined
        } else if (action.do === 'create-next') {
          next = { validity: created(now), publishedAt: now }
        } else {
          assert.ok(next !== undefined)
          const overlapped = current !== undefined && now < current.notAfter - LAST_MOMENT_MS
          if (overlapped) assert.ok(now - next.publishedAt >= PUBLISH_MS, 'published for an hour while there was time')
          current = next.validity
          next = undefined
        }
      }
      assert.ok(current !== undefined && current.notBefore <= now && now < current.notAfter)
      if (current.notAfter - now <= CREATE_NEXT_MS) assert.ok(next !== undefined, 'in its last 3 days the next hash is published')
    }
  }))
})
