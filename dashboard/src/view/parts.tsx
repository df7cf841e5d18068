import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'
import type { ApiError } from '../model/api.ts'
import { percentText } from '../model/format.ts'

export type Tone = 'good' | 'fair' | 'bad' | 'plain'

/** A state in a word; its colour says nothing that the word does not. */
export function Badge ({ tone, children }: { readonly tone: Tone, readonly children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>
}

export function Card ({ title, about, wide = false, actions, children }: { readonly title: string, readonly about?: string, readonly wide?: boolean, readonly actions?: ComponentChildren, readonly children: ComponentChildren }) {
  const id = useId()
  return (
    <section class={wide ? 'card wide' : 'card'} aria-labelledby={id}>
      <div class='card-head'>
        <h2 id={id}>{title}</h2>
        {actions === undefined ? null : <div class='actions'>{actions}</div>}
      </div>
      {about === undefined ? null : <p class='about'>{about}</p>}
      {children}
    </section>
  )
}

export interface Column<T> {
  readonly name: string
  readonly cell: (row: T) => ComponentChildren
  readonly number?: boolean
  /** Left out on narrow screens. */
  readonly extra?: boolean
}

/** @param caption read out, and not shown: the heading above says the same */
export function Table<T> ({ caption, columns, rows, keyOf, empty }: { readonly caption: string, readonly columns: readonly Column<T>[], readonly rows: readonly T[], readonly keyOf: (row: T) => string, readonly empty: string }) {
  const classOf = ({ number = false, extra = false }: Column<T>): string => `${number ? 'number' : ''} ${extra ? 'extra' : ''}`.trim()
  if (rows.length === 0) return <p class='empty'>{empty}</p>
  return (
    // A wide table scrolls by itself, with the keyboard too.
    <div class='scroll' tabIndex={0} role='group' aria-label={caption}>
      <table>
        <caption class='read-out'>{caption}</caption>
        <thead><tr>{columns.map(column => <th key={column.name} scope='col' class={classOf(column)}>{column.name}</th>)}</tr></thead>
        <tbody>
          {rows.map(row => (
            <tr key={keyOf(row)}>
              {columns.map((column, place) => place === 0
                ? <th key={column.name} scope='row' class={classOf(column)}>{column.cell(row)}</th>
                : <td key={column.name} class={classOf(column)}>{column.cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** A share as a bar with its number beside. @param share of 1 */
export function Meter ({ share, label, children }: { readonly share: number, readonly label: string, readonly children?: ComponentChildren }) {
  const whole = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0))
  return (
    <span class='meter'>
      <progress max={1} value={whole} aria-label={label}>{percentText(whole)}</progress>
      <span>{children ?? percentText(whole)}</span>
    </span>
  )
}

export interface Fact {
  readonly name: string
  readonly value: ComponentChildren
  readonly note?: ComponentChildren
}

export function Facts ({ facts }: { readonly facts: readonly Fact[] }) {
  return (
    <dl class='facts'>
      {facts.map(({ name, value, note }) => <div key={name}><dt>{name}</dt><dd>{value}{note === undefined ? null : <small>{note}</small>}</dd></div>)}
    </dl>
  )
}

/** What was refused, with its code. */
export function Failure ({ error }: { readonly error: ApiError | undefined }) {
  // A 401 has a dialog of its own.
  if (error === undefined || error.status === 401) return null
  return <p class='failure' role='alert'><code>{error.code}</code> {error.message}</p>
}

/** A labelled field of a form. */
export function Field ({ label, value, change, placeholder = '', pattern, required = false }: { readonly label: string, readonly value: string, readonly change: (value: string) => void, readonly placeholder?: string, readonly pattern?: string, readonly required?: boolean }) {
  const id = useId()
  return (
    <div class='field'>
      <label for={id}>{label}</label>
      <input
        id={id} type='text' value={value} placeholder={placeholder} required={required} autocomplete='off' spellcheck={false} autocapitalize='off'
        {...pattern === undefined ? {} : { pattern }}
        onInput={event => { change(event.currentTarget.value) }}
      />
    </div>
  )
}

export function Choice<T extends string> ({ label, value, options, change }: { readonly label: string, readonly value: T, readonly options: readonly (readonly [value: T, text: string])[], readonly change: (value: T) => void }) {
  const id = useId()
  return (
    <div class='field'>
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={event => { change(event.currentTarget.value as T) }}>
        {options.map(([one, text]) => <option key={one} value={one}>{text}</option>)}
      </select>
    </div>
  )
}
