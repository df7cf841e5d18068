/** What a heartbeat of the gateway tells of its load. */
export interface GatewayHeartbeat {
  /** ms. */
  readonly loopDelayMs?: number
  readonly rssBytes: number
}

/** The load of the gateway between two samples: the worst delay it has reported, the latest memory. */
export class GatewayLoad {
  #delayMs: number | undefined
  #last: GatewayHeartbeat | undefined

  hear (heartbeat: GatewayHeartbeat): void {
    this.#last = heartbeat
    this.#delayMs = Math.max(this.#delayMs ?? 0, heartbeat.loopDelayMs ?? 0)
  }

  /** Starts over. Without a heartbeat since the last call the latest one stands, unless the gateway is gone. */
  take (alive: boolean): { readonly delayMs: number, readonly rssBytes: number } | undefined {
    if (!alive) this.#last = undefined
    const delayMs = this.#delayMs ?? this.#last?.loopDelayMs ?? 0
    this.#delayMs = undefined
    return this.#last === undefined ? undefined : { delayMs, rssBytes: this.#last.rssBytes }
  }
}
