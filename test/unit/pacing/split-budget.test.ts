import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FairShare } from '../../../src/pacing/fair-share.ts'
import { freshDemand, MAX_GROUPS, REPORT_MAX_AGE_MS, splitBudget, type Budgets, type Demand, type DemandGroup } from '../../../src/pacing/split-budget.ts'
import { fillLevel, takenAt } from '../../../src/pacing/water-level.ts'
import { fluidShares, seededRandom, ShareSim, windowExtremes, type SimViewer } from '../../support/share-sim.ts'

const NOBODY: Demand = { groups: [], joinedWeight: 0 }

/** Viewers who take all they get. */
function busy (weight: number, viewers = weight): Demand {
  return { groups: [{ viewers, weight, floorBps: 0 }], joinedWeight: weight }
}

function near (actual: number, expected: number, part = 1e-9): boolean {
  return Math.abs(actual - expected) <= part * Math.max(Math.abs(expected), 1)
}

const group: fc.Arbitrary<DemandGroup> = fc.record({
  viewers: fc.integer({ min: 1, max: 50 }),
  weight: fc.double({ min: 0.1, max: 50, noNaN: true }),
  floorBps: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 3e7, noNaN: true })),
  limitBps: fc.option(fc.double({ min: 1000, max: 5e7, noNaN: true }), { nil: undefined }),
  ceilingBps: fc.option(fc.double({ min: 1000, max: 5e7, noNaN: true }), { nil: undefined })
})
const demand: fc.Arbitrary<Demand> = fc.record({ groups: fc.array(group, { maxLength: 8, size: 'max' }), joinedWeight: fc.double({ min: 0, max: 500, noNaN: true }) })
const total = fc.double({ min: 1e5, max: 1e9, noNaN: true })

test('water level: what it gives is what bisection finds, whatever the weights, floors and limits', () => {
  const basin = fc.record({ weight: fc.double({ min: 0.1, max: 50, noNaN: true }), floor: fc.double({ min: 0, max: 1e6, noNaN: true }), limit: fc.oneof(fc.constant(Infinity), fc.double({ min: 1, max: 1e7, noNaN: true })) })
  fc.assert(fc.property(fc.array(basin, { minLength: 1, maxLength: 20, size: 'max' }), fc.double({ min: 1, max: 1e8, noNaN: true }), (basins, sum) => {
    const level = fillLevel(basins, sum)
    const shares = fluidShares(basins, sum)
    basins.forEach((one, index) => {
      assert.ok(near(takenAt([one], level), shares[index] ?? NaN, 1e-6), `${takenAt([one], level)} instead of ${shares[index]}`)
    })
    assert.ok(near(takenAt(basins, level), Math.min(sum, basins.reduce((all, one) => all + one.limit, 0)), 1e-6))
  }), { numRuns: 500 })
})

test('the budgets sum to the total, none is below its least part, and the level is the same for both', () => {
  fc.assert(fc.property(total, demand, demand, (totalBps, http, gateway) => {
    const budgets = splitBudget(totalBps, { http, gateway })
    assert.ok(near(budgets.http.budgetBps + budgets.gateway.budgetBps, totalBps))
    assert.ok(Math.min(budgets.http.budgetBps, budgets.gateway.budgetBps) >= totalBps / 200 * (1 - 1e-9))
    assert.equal(budgets.http.levelBps, budgets.gateway.levelBps)
    assert.ok(budgets.http.levelBps !== undefined && budgets.http.levelBps >= 0 && budgets.http.levelBps < Infinity)
    const other = splitBudget(totalBps, { http: gateway, gateway: http })
    assert.ok(near(other.http.budgetBps, budgets.gateway.budgetBps, 1e-6), 'the processes are alike')
  }), { numRuns: 500 })
})

test('each process gets the sum of its viewers\' fluid shares, wherever they are', () => {
  fc.assert(fc.property(total, demand, demand, (totalBps, http, gateway) => {
    const all = [...http.groups, ...gateway.groups].map(one => ({ weight: one.weight, floor: one.floorBps, limit: one.limitBps ?? Infinity }))
    if (all.length === 0) return
    const shares = fluidShares(all, totalBps)
    const sum = (part: readonly number[]): number => part.reduce((a, b) => a + b, 0)
    const idle = totalBps - sum(shares)
    const share = sum(shares.slice(0, http.groups.length))
    const { budgetBps } = splitBudget(totalBps, { http, gateway }).http
    // What nobody asks for goes to both.
    assert.ok(budgetBps >= Math.min(share * (1 - 1e-6), totalBps * 0.995) && budgetBps <= Math.max((share + idle) * (1 + 1e-6) + 1, totalBps / 200 * (1 + 1e-9)), `${budgetBps} for ${share} and ${idle} idle`)
  }), { numRuns: 500 })
})

test('viewers of both processes have one level: 40 and 20 split the total 2 to 1', () => {
  const { http, gateway } = splitBudget(100e6, { http: busy(20), gateway: busy(40) })
  assert.ok(near(http.budgetBps, 100e6 / 3) && near(gateway.budgetBps, 200e6 / 3))
  assert.ok(near(http.levelBps ?? NaN, 100e6 / 60))
})

test('a process without demand keeps a little, so that its first viewer need not wait for a report, and the rest goes to the other', () => {
  const { http, gateway } = splitBudget(100e6, { http: NOBODY, gateway: busy(3) })
  assert.equal(http.budgetBps, 0.5e6)
  assert.equal(gateway.budgetBps, 99.5e6)
  const idle = splitBudget(100e6, { http: { groups: [], joinedWeight: 9 }, gateway: NOBODY })
  assert.ok(near(idle.http.budgetBps, 100e6 * 10 / 11))
})

test('without a report of the gateway HTTP has everything; the gateway begins with a little, never without a limit', () => {
  const { http, gateway } = splitBudget(100e6, { http: busy(2), gateway: undefined })
  assert.deepEqual(http, { budgetBps: 100e6, levelBps: 50e6 })
  assert.deepEqual(gateway, { budgetBps: 0.5e6, levelBps: 50e6 })
  assert.deepEqual(splitBudget(0, { http: busy(2), gateway: busy(1) }).gateway, { budgetBps: 0, levelBps: undefined })
})

test('a report ages out', () => {
  const report = { demand: busy(1), at: 5000 }
  assert.equal(freshDemand(report, 5000 + REPORT_MAX_AGE_MS), report.demand)
  assert.equal(freshDemand(report, 5001 + REPORT_MAX_AGE_MS), undefined)
  assert.equal(freshDemand(undefined, 0), undefined)
})

test('the level counts satisfied viewers with what they may step up to: a rung that all could not have is suggested to none', () => {
  const at480p: DemandGroup = { viewers: 60, weight: 60, floorBps: 0, limitBps: 60e6, ceilingBps: 150e6 }
  assert.ok(near(splitBudget(100e6, { http: { groups: [at480p], joinedWeight: 60 }, gateway: undefined }).http.levelBps ?? NaN, 100e6 / 60))
  // With room for all of them to step up, the level is what one more viewer would have.
  const few: DemandGroup = { viewers: 10, weight: 10, floorBps: 0, limitBps: 10e6, ceilingBps: 25e6 }
  assert.ok(near(splitBudget(100e6, { http: { groups: [few], joinedWeight: 10 }, gateway: undefined }).http.levelBps ?? NaN, 75e6))
})

test('a demand has at most 64 groups however different its viewers are, and loses nobody', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 500 }), fc.integer(), (viewers, seed) => {
    const random = seededRandom(seed)
    const share = new FairShare<number>({ totalBps: 1e6, maxViewers: 1000, maxWaiting: 10_000 }, 0)
    let weight = 0
    for (let index = 0; index < viewers; index++) {
      const limits = { weight: 0.1 + random(), capBps: 1e5 + 1e6 * random(), floorBps: 1e5 * random() }
      weight += limits.weight
      share.join(`v${index}`, limits, 0)
      for (let ticket = 0; ticket < 5; ticket++) share.request(`v${index}`, ticket, 50_000, 0)
    }
    const { groups, joinedWeight } = share.demand(100)
    assert.ok(groups.length <= MAX_GROUPS)
    assert.ok(near(joinedWeight, weight))
    assert.ok(groups.reduce((sum, one) => sum + one.viewers, 0) >= viewers - 3)
    assert.ok(groups.every(one => one.weight > 0 && one.limitBps !== undefined))
    assert.deepEqual(JSON.parse(JSON.stringify(groups)), groups)
  }), { numRuns: 30 })
})

const REPORT_MS = 100

/** Two processes in virtual time: every 100 ms the gateway reports, the relay splits, and the gateway hears of it 5 ms later. */
class TwoProcesses {
  readonly http: ShareSim
  readonly gateway: ShareSim
  readonly #totalBps: number
  /** False while the gateway's messages do not arrive. */
  reports = true
  budgets: Budgets
  #report: { demand: Demand, at: number } | undefined
  #now = 0

  constructor (totalBps: number, seed: number) {
    this.#totalBps = totalBps
    const random = seededRandom(seed)
    this.budgets = splitBudget(totalBps, { http: NOBODY, gateway: undefined })
    const make = (budgetBps: number): ShareSim => new ShareSim(new FairShare<number>({ totalBps: budgetBps, maxViewers: 1000, maxWaiting: 100_000 }, 0), { lateMs: () => random() })
    this.http = make(this.budgets.http.budgetBps)
    this.gateway = make(this.budgets.gateway.budgetBps)
  }

  run (end: number): void {
    for (; this.#now < end; this.#now += REPORT_MS) {
      this.http.run(this.#now)
      this.gateway.run(this.#now)
      if (this.reports) this.#report = { demand: this.gateway.share.demand(this.#now), at: this.#now }
      this.budgets = splitBudget(this.#totalBps, { http: this.http.share.demand(this.#now), gateway: freshDemand(this.#report, this.#now) })
      this.http.share.setTotal(this.budgets.http.budgetBps, this.#now)
      this.gateway.run(this.#now + 5)
      if (this.reports) this.gateway.share.setTotal(this.budgets.gateway.budgetBps, this.#now + 5)
    }
    this.http.run(end)
    this.gateway.run(end)
  }

  /** Least and most of any second between, of all or of one viewer, as a part of `bps`. */
  within (bps: number, from: number, to: number, id?: string): { least: number, most: number } {
    const grants = [...this.http.grants, ...this.gateway.grants].filter(grant => id === undefined || grant.id === id).sort((a, b) => a.at - b.at)
    const { least, most } = windowExtremes(grants, 1000, from, to)
    return { least: least * 8 / bps, most: most * 8 / bps }
  }
}

function greedy (id: string, more: Partial<SimViewer> = {}): SimViewer {
  return { id, limits: { weight: 1 }, streams: 2, wanted: 65_536, ...more }
}

function ids (prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}

test('40 viewers of one process and 20 of the other: each within 5 % of the same share, the total within 2 %, from one second on', () => {
  fc.assert(fc.property(fc.integer(), seed => {
    const both = new TwoProcesses(100e6, seed)
    for (const id of ids('g', 40)) both.gateway.add(greedy(id))
    for (const id of ids('h', 20)) both.http.add(greedy(id, { thinkMs: () => 1 }))
    both.run(4000)
    const all = both.within(100e6, 1000, 4000)
    assert.ok(all.least >= 0.98 && all.most <= 1.02, `total ${all.least} to ${all.most}`)
    for (const id of [...ids('g', 40), ...ids('h', 20)]) {
      const { least, most } = both.within(100e6 / 60, 1000, 4000, id)
      assert.ok(least >= 0.95 && most <= 1.05, `${id}: ${least} to ${most}`)
    }
  }), { numRuns: 3, endOnFailure: true })
})

test('test case 6 of the review: 50 viewers saturate 100 Mbit/s, 10 join on another transport, 30 leave: new shares within 10 % after a second, without a dip or a surge of the total', () => {
  const both = new TwoProcesses(100e6, 7)
  for (const id of ids('g', 50)) both.gateway.add(greedy(id, Number(id.slice(1)) < 30 ? { leavesAt: 6000 } : {}))
  for (const id of ids('h', 10)) both.http.add(greedy(id, { joinsAt: 3000 }))
  both.run(9000)
  assert.ok(near(both.budgets.http.levelBps ?? NaN, 100e6 / 30, 0.01))
  for (const id of ids('g', 50).slice(30)) {
    for (const [bps, from, to] of [[2e6, 1000, 3000], [100e6 / 60, 4000, 6000], [100e6 / 30, 7000, 9000]] as const) {
      const { least, most } = both.within(bps, from, to, id)
      assert.ok(least >= 0.9 && most <= 1.1, `${id} from ${from}: ${least} to ${most}`)
    }
  }
  for (const id of ids('h', 10)) {
    const { least, most } = both.within(100e6 / 60, 4000, 6000, id)
    assert.ok(least >= 0.9 && most <= 1.1, `${id}: ${least} to ${most}`)
  }
  const all = both.within(100e6, 1000, 9000)
  assert.ok(all.least >= 0.96 && all.most <= 1.03, `total ${all.least} to ${all.most}`)
})

test('a process that becomes busy between two reports: the total exceeds its budget by the buckets at most, and the newcomers wait for the next report at most', () => {
  const both = new TwoProcesses(100e6, 3)
  for (const id of ids('g', 20)) both.gateway.add(greedy(id))
  for (const id of ids('h', 20)) both.http.add(greedy(id, { joinsAt: 2010 }))
  both.run(4000)
  // The default bucket of each.
  const bursts = 2 * 0.02
  assert.ok(both.within(100e6, 1000, 4000).most <= 1.02 + bursts)
  for (const id of ids('h', 20)) assert.ok(both.within(2.5e6, 2210, 4000, id).least >= 0.9, id)
  // With both idle before, what is handed out still sums to the total.
  const idle = new TwoProcesses(100e6, 4)
  for (const id of ids('g', 20)) idle.gateway.add(greedy(id, { joinsAt: 2010 }))
  for (const id of ids('h', 20)) idle.http.add(greedy(id, { joinsAt: 2020 }))
  idle.run(4000)
  assert.ok(idle.within(100e6, 0, 4000).most <= 1.02 + bursts)
})

test('slow viewers of one process keep what they take, and the busy ones of the other get all the rest', () => {
  const both = new TwoProcesses(100e6, 5)
  for (const id of ids('slow', 30)) both.gateway.add(greedy(id, { streams: 1, wanted: 10_000, paceBps: 1e6, thinkMs: () => 1 }))
  for (const id of ids('h', 20)) both.http.add(greedy(id))
  both.run(5000)
  const all = both.within(100e6, 2000, 5000)
  assert.ok(all.least >= 0.97 && all.most <= 1.02, `total ${all.least} to ${all.most}`)
  for (const id of ids('slow', 30)) {
    const { least } = both.within(1e6, 2000, 5000, id)
    assert.ok(least >= 0.9, `${id}: ${least}`)
  }
  for (const id of ids('h', 20)) {
    const { least, most } = both.within(3.5e6, 2000, 5000, id)
    assert.ok(least >= 0.93 && most <= 1.07, `${id}: ${least} to ${most}`)
  }
})

test('while the gateway does not report, HTTP has everything after a second, and shares again with the next report', () => {
  const both = new TwoProcesses(50e6, 6)
  for (const id of ids('g', 10)) both.gateway.add(greedy(id))
  for (const id of ids('h', 10)) both.http.add(greedy(id))
  both.run(2000)
  assert.ok(near(both.budgets.http.budgetBps, 25e6, 0.01))
  both.reports = false
  both.run(3500)
  assert.equal(both.budgets.http.budgetBps, 50e6)
  both.reports = true
  both.run(5000)
  assert.ok(near(both.budgets.http.budgetBps, 25e6, 0.01))
})
