import type { MetricDefinition } from '../metrics/definition.ts'

/** Super-nodes are 100 to 300 ms away. */
const UPSTREAM_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10]

export const upstreamMetrics = {
  icn_relay_upstream_fetches_total: { type: 'counter', help: 'Requests to super-nodes by outcome', labels: ['node', 'outcome'] },
  icn_relay_upstream_fetch_latency_seconds: { type: 'histogram', help: 'Request to a super-node until its response head', labels: ['node'], buckets: UPSTREAM_BUCKETS },
  icn_relay_upstream_bytes_total: { type: 'counter', help: 'Bytes of bodies that super-nodes have sent, told when a body ends; 1 less its part of icn_relay_bytes_served_total is the offload', labels: ['node'] },
  icn_relay_upstream_hedges_total: { type: 'counter', help: 'Requests sent because another super-node was late, by whether they were faster', labels: ['outcome'] },
  icn_relay_upstream_resumes_total: { type: 'counter', help: 'Bodies that broke off, by whether another super-node had the rest', labels: ['outcome'] },
  icn_relay_upstream_odd_answers_total: { type: 'counter', help: 'Answers that were taken although something is odd about them: a digest that cannot be checked, no-store, or neither length nor digest', labels: ['node', 'oddity'] },
  icn_relay_upstream_node_up: { type: 'gauge', help: '1 while a super-node is up, 0 in every other state', labels: ['node', 'region'] },
  icn_relay_health_check_failures_total: { type: 'counter', help: 'Health checks a super-node failed', labels: ['node'] }
} as const satisfies Record<string, MetricDefinition>
