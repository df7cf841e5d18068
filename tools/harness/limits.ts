/** Every viewer of a test comes from this machine: limits that none of them meets, for tests that are about something else. */
export const GENEROUS_LIMITS = {
  handshakes_per_second: 1_000_000,
  handshakes_per_second_per_ip: 1_000_000,
  requests_per_second_per_viewer: 1_000_000,
  connections_per_ip: 1_000_000,
  responses_per_ip: 1_000_000
} as const

/** An hour: where load is what a relay is given, an event loop that is late is not a reason to send viewers away. */
export const NEVER_OVERLOADED = { degraded_delay_ms: 3_600_000, shedding_delay_ms: 3_600_000 } as const

/** Deadlines of a relay for its super-nodes that no slow machine meets, for tests that are about something else. */
export const PATIENT_UPSTREAM = { connect_timeout_ms: 60_000, first_byte_timeout_ms: 60_000, headers_timeout_ms: 60_000 } as const

/** A gateway that is not taken for hung because it got no time of the processor. */
export const PATIENT_SUPERVISOR = { hang_ms: 120_000 } as const
