/** The numbers of `[limits]` in force. */
export interface LimitNumbers {
  /** Handshakes of viewer sessions, in total. */
  readonly handshakesPerSecond: number
  readonly handshakesPerSecondPerIp: number
  /** Addresses each table remembers at most. */
  readonly trackedIps: number
  /** Of one address, over all its sessions and HTTP. */
  readonly requestsPerSecondPerViewer: number
  /** TCP connections of one address to the viewer HTTP listener. */
  readonly connectionsPerIp: number
}
