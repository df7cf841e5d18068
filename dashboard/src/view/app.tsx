import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import icon from '../icon.svg'
import { agoText, clockText, durationText } from '../model/format.ts'
import { OLD_MS, type Contact, type Relay } from '../model/relay.ts'
import { troublesOf } from '../model/troubles.ts'
import type { SummaryAnswer } from '../model/wire.ts'
import { CacheView } from './cache.tsx'
import { ConfigView } from './config.tsx'
import { Denylist } from './denylist.tsx'
import { Confirm, ConfirmDialog, TokenDialog, type Action } from './dialogs.tsx'
import { Jobs } from './jobs.tsx'
import { Log } from './log.tsx'
import { Nodes } from './nodes.tsx'
import { Overview } from './overview.tsx'
import { Badge, type Tone } from './parts.tsx'
import { RelayContext, useRelay, useTurns } from './relay-context.ts'
import { Viewers } from './viewers.tsx'

interface View {
  readonly name: string
  readonly title: string
  readonly show: (summary: SummaryAnswer) => ComponentChildren
}

const FIRST: View = { name: 'overview', title: 'Overview', show: summary => <Overview summary={summary} /> }
const VIEWS: readonly View[] = [
  FIRST,
  { name: 'nodes', title: 'Super-nodes', show: summary => <Nodes summary={summary} /> },
  { name: 'viewers', title: 'Viewers', show: summary => <Viewers summary={summary} /> },
  { name: 'cache', title: 'Cache', show: summary => <CacheView summary={summary} /> },
  { name: 'jobs', title: 'Jobs', show: () => <Jobs /> },
  { name: 'denylist', title: 'Denylist', show: () => <Denylist /> },
  { name: 'log', title: 'Log', show: () => <Log /> },
  { name: 'config', title: 'Configuration', show: summary => <ConfigView summary={summary} /> }
]

/** The fragment names the view, and nothing else ever stands in the address. */
function useView (): View {
  const [name, setName] = useState(window.location.hash.slice(1))
  useEffect(() => {
    const change = (): void => { setName(window.location.hash.slice(1)) }
    window.addEventListener('hashchange', change)
    return () => { window.removeEventListener('hashchange', change) }
  }, [])
  return VIEWS.find(view => view.name === name) ?? FIRST
}

const CONTACTS: Readonly<Record<Contact, readonly [Tone, string]>> = {
  asking: ['plain', 'asking'], live: ['good', 'live'], late: ['fair', 'slow'], lost: ['bad', 'no answer'], locked: ['plain', 'locked'], paused: ['plain', 'paused']
}

/** Whether what is shown is true now. Once a second, also when nothing comes. */
function ContactNote () {
  const relay = useRelay()
  const turn = useTurns()
  useEffect(() => {
    const timer = setInterval(turn, 1_000)
    return () => { clearInterval(timer) }
  }, [turn])
  const { contact, error, answeredAt, summary } = relay
  const age = answeredAt === undefined ? Infinity : Date.now() - answeredAt
  if (relay.replaced) return <p class='note fair' role='status'>The relay runs version {summary?.version} now: reload this page for the dashboard that goes with it.</p>
  if (contact === 'paused') return <p class='note plain' role='status'>Paused{answeredAt === undefined ? '' : `: as of ${agoText(answeredAt, Date.now())}`}.</p>
  if (contact === 'lost') return <p class='note bad' role='status'>No answer{answeredAt === undefined ? '' : `, what is shown is as of ${clockText(answeredAt)}`}: <code>{error?.code}</code> {error?.message}. Asked again until there is one.</p>
  if (contact === 'late' || (contact === 'live' && age > OLD_MS)) return <p class='note fair' role='status'>The relay is slow to answer{answeredAt === undefined ? '' : `: what is shown is ${durationText(Math.round(age / 1_000))} old`}.</p>
  return null
}

function Header ({ view }: { readonly view: View }) {
  const relay = useRelay()
  const { summary, contact, paused, api } = relay
  const [tone, word] = CONTACTS[contact]
  const nav = useRef<HTMLElement>(null)
  // On a narrow screen not all of them are seen.
  useEffect(() => { nav.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }) }, [view])
  return (
    <header>
      <div class='bar'>
        <h1><img src={icon} alt='' width={28} height={28} />icn-relay</h1>
        {summary === undefined
          ? null
          : (
            <p class='which'>
              {summary.region === '' ? null : <b>{summary.region}</b>} <span>{summary.version}</span> <span>up {durationText(Math.floor(summary.uptimeSeconds))}</span>
            </p>
            )}
        <div class='states'>
          {summary === undefined ? null : <Badge tone={contact === 'lost' ? 'plain' : summary.readiness.ready ? 'good' : 'bad'}>{summary.readiness.ready ? 'ready' : 'not ready'}</Badge>}
          {summary === undefined || summary.overload.state === 'normal' ? null : <Badge tone={summary.overload.state === 'shedding' ? 'bad' : 'fair'}>{summary.overload.state}</Badge>}
          <Badge tone={tone}>{word}</Badge>
          <button type='button' class='quiet' aria-pressed={paused} onClick={() => { relay.pause(!paused) }}>{paused ? 'Go on' : 'Pause'}</button>
          {api.hasToken ? <button type='button' class='quiet' onClick={() => { window.location.reload() }}>Forget token</button> : null}
        </div>
      </div>
      <nav ref={nav} aria-label='Views'>
        <ul>{VIEWS.map(({ name, title }) => <li key={name}><a href={`#${name}`} {...view.name === name ? { 'aria-current': 'page' as const } : {}}>{title}</a></li>)}</ul>
      </nav>
    </header>
  )
}

/** What an operator needs first when something is wrong. */
function Troubles ({ summary }: { readonly summary: SummaryAnswer }) {
  const troubles = troublesOf(summary, Date.now())
  const worst = troubles[0]?.level
  return (
    <section class={`troubles ${worst ?? 'none'}`} aria-label='What is wrong'>
      {troubles.length === 0
        ? <p><Badge tone='good'>fine</Badge> Nothing is wrong that the relay knows of.</p>
        : (
          <ul>
            {troubles.map(({ level, text, detail = '', view }) => (
              <li key={text}>
                <Badge tone={level === 'bad' ? 'bad' : level === 'warn' ? 'fair' : 'plain'}>{level === 'bad' ? 'wrong' : level === 'warn' ? 'look' : 'note'}</Badge>
                <span>{view === undefined ? text : <a href={`#${view}`}>{text}</a>}{detail === '' ? null : <small class='below'>{detail}</small>}</span>
              </li>
            ))}
          </ul>
          )}
    </section>
  )
}

function Page () {
  const relay = useRelay()
  const view = useView()
  const [action, setAction] = useState<Action>()
  const { summary, locked } = relay
  useEffect(() => { document.title = `${summary?.readiness.ready === false ? '⚠ ' : ''}icn-relay${summary === undefined || summary.region === '' ? '' : ` ${summary.region}`}: ${view.title}` })
  return (
    <Confirm.Provider value={setAction}>
      <a class='skip' href='#main' onClick={event => { event.preventDefault(); document.getElementById('main')?.focus() }}>To the contents</a>
      <Header view={view} />
      <main id='main' tabIndex={-1}>
        <ContactNote />
        {/* Nobody sees what a token showed once it is gone. */}
        {summary === undefined || locked
          ? <p class='empty'>{locked ? 'Nothing is shown without a token.' : 'Asking the relay …'}</p>
          : <><Troubles summary={summary} /><div class='cards' key={view.name}>{view.show(summary)}</div></>}
      </main>
      {locked ? <TokenDialog /> : action === undefined ? null : <ConfirmDialog action={action} close={() => { setAction(undefined) }} />}
    </Confirm.Provider>
  )
}

export function App ({ relay }: { readonly relay: Relay }) {
  return <RelayContext.Provider value={relay}><Page /></RelayContext.Provider>
}
