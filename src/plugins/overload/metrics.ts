import type { MetricDefinition } from '../metrics/definition.ts'

export const overloadMetrics = {
  icn_relay_overload_state: { type: 'gauge', help: '0 normal, 1 degraded, 2 shedding' },
  icn_relay_overload_transitions_total: { type: 'counter', help: 'Changes of that state, by the signal that led into the worse of the two; override: by an operator', labels: ['from', 'to', 'signal'] },
  icn_relay_overload_signal: { type: 'gauge', help: 'Signals of overload, as a ratio of where degraded begins', labels: ['signal'] },
  icn_relay_overload_shed_total: { type: 'counter', help: 'Sessions redirected or refused, and misses refused, because of overload', labels: ['kind'] }
} as const satisfies Record<string, MetricDefinition>
