import { createContext } from 'preact'
import { useContext, useEffect, useId, useRef, useState } from 'preact/hooks'
import { asApiError, type Api, type ApiError } from '../model/api.ts'
import { Failure } from './parts.tsx'
import { useRelay } from './relay-context.ts'

/** Something that changes the relay, for which somebody is asked first. */
export interface Action {
  readonly title: string
  /** What it does, and to whom. */
  readonly text: string
  /** The button. */
  readonly verb: string
  /** What must be typed, where the wrong object would be a loss. */
  readonly typed?: string
  readonly run: (api: Api) => Promise<string>
  /** When it is done. */
  readonly done?: () => void
}

export const Confirm = createContext<(action: Action) => void>(() => {})

/** Asks before an action is run. */
export function useConfirm (): (action: Action) => void { return useContext(Confirm) }

/** A modal dialog that is open as long as it is rendered; the browser keeps the focus in it and gives it back. */
function useModal () {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = ref.current
    if (dialog !== null && !dialog.open) dialog.showModal()
    return () => { dialog?.close() }
  }, [])
  return ref
}

export function ConfirmDialog ({ action, close }: { readonly action: Action, readonly close: () => void }) {
  const relay = useRelay()
  const ref = useModal()
  const id = useId()
  const [typed, setTyped] = useState('')
  const [state, setState] = useState<'asking' | 'running' | 'done'>('asking')
  const [result, setResult] = useState('')
  const [error, setError] = useState<ApiError>()
  const { title, text, verb, typed: wanted } = action
  const ready = state === 'asking' && (wanted === undefined || typed === wanted)
  const run = async (): Promise<void> => {
    setState('running')
    setError(undefined)
    try {
      setResult(await action.run(relay.api))
      setState('done')
      action.done?.()
    } catch (thrown) {
      const failed = asApiError(thrown)
      setError(failed)
      setState('asking')
      if (failed.status === 401) {
        close()
        relay.lock()
      }
    }
  }
  return (
    <dialog ref={ref} class='dialog' aria-labelledby={id} onCancel={event => { event.preventDefault(); if (state !== 'running') close() }}>
      <form onSubmit={event => { event.preventDefault(); if (ready) void run() }}>
        <h2 id={id}>{title}</h2>
        <p>{text}</p>
        {wanted === undefined || state === 'done'
          ? null
          : (
            <div class='field'>
              <label for={`${id}-typed`}>Type <code>{wanted}</code> to go on</label>
              <input id={`${id}-typed`} value={typed} autocomplete='off' spellcheck={false} autocapitalize='off' onInput={event => { setTyped(event.currentTarget.value) }} />
            </div>
            )}
        <Failure error={error} />
        <p class='result' role='status'>{state === 'running' ? 'Under way …' : result}</p>
        <div class='dialog-buttons'>
          <button type='button' class='quiet' disabled={state === 'running'} onClick={close}>{state === 'done' ? 'Close' : 'Cancel'}</button>
          {state === 'done' ? null : <button type='submit' class='danger' disabled={!ready}>{verb}</button>}
        </div>
      </form>
    </dialog>
  )
}

/** Asks for a token. Nothing of it goes to storage, to the URL or to a form that a browser would remember. */
export function TokenDialog () {
  const relay = useRelay()
  const ref = useModal()
  const id = useId()
  const [problem, setProblem] = useState('')
  const input = useRef<HTMLInputElement>(null)
  const refused = relay.api.hasToken
  const unlock = (): void => {
    try {
      relay.unlock(input.current?.value.trim() ?? '')
    } catch (error) {
      setProblem(asApiError(error).message)
    }
  }
  return (
    <dialog ref={ref} class='dialog' aria-labelledby={id} onCancel={event => { event.preventDefault() }}>
      <form onSubmit={event => { event.preventDefault(); unlock() }}>
        <h2 id={id}>A token, please</h2>
        <p>This relay shows itself to operators only. A token with scope <code>read</code> may look, one with <code>write</code> may act. It stays in this page until you leave it, and is kept nowhere.</p>
        <div class='field'>
          <label for={`${id}-token`}>Admin token</label>
          <input ref={input} id={`${id}-token`} type='password' autocomplete='off' spellcheck={false} autocapitalize='off' required />
        </div>
        <p class='failure' role='alert'>{problem !== '' ? problem : refused ? 'The relay does not know this token.' : ''}</p>
        <div class='dialog-buttons'><button type='submit'>Look</button></div>
      </form>
    </dialog>
  )
}
