import { createContext } from 'preact'
import { useContext, useEffect, useMemo, useState } from 'preact/hooks'
import type { ApiError } from '../model/api.ts'
import { Poll } from '../model/poll.ts'
import type { Relay } from '../model/relay.ts'

export const RelayContext = createContext<Relay | undefined>(undefined)

/** Renders again whenever something is told. */
export function useTurns (): () => void {
  const [, turn] = useState(0)
  return useMemo(() => () => { turn(count => count + 1) }, [])
}

/** The relay of the page; renders again with each of its changes. */
export function useRelay (): Relay {
  const relay = useContext(RelayContext)
  if (relay === undefined) throw new Error('outside of the page')
  const turn = useTurns()
  useEffect(() => relay.onChange(turn), [relay, turn])
  return relay
}

export interface Polled<T> {
  readonly value: T | undefined
  readonly error: ApiError | undefined
  /** Asks now. */
  readonly again: () => void
}

/** Asks for a path of the admin API as long as the view is shown, and the page is looked at. */
export function usePolled<T> (path: string, everyMs: number): Polled<T> {
  const relay = useRelay()
  const turn = useTurns()
  const poll = useMemo(() => new Poll<T>({ ask: async signal => await relay.api.get<T>(path, signal), everyMs, timers: relay.timers, changed: turn }), [relay, path, everyMs, turn])
  const { active } = relay
  useEffect(() => {
    if (active) poll.start()
    return () => { poll.stop() }
  }, [poll, active])
  const unauthorized = poll.error?.status === 401
  useEffect(() => {
    if (unauthorized) relay.lock()
  }, [relay, unauthorized])
  return { value: poll.value, error: poll.error, again: () => { if (relay.active) poll.start() } }
}
