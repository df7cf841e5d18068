import 'uplot/dist/uPlot.min.css'
import './style.css'
import { render } from 'preact'
import { Relay } from './model/relay.ts'
import { App } from './view/app.tsx'

const relay = new Relay(async (url, init) => await fetch(url, init), {
  now: () => Date.now(),
  after: (ms, callback) => {
    const timer = window.setTimeout(callback, ms)
    return () => { window.clearTimeout(timer) }
  }
})

// A page that nobody sees asks nothing, and one that is left leaves nothing running.
document.addEventListener('visibilitychange', () => { relay.hide(document.visibilityState === 'hidden') })
window.addEventListener('pagehide', () => { relay.hide(true) })
window.addEventListener('pageshow', () => { relay.hide(document.visibilityState === 'hidden') })

const root = document.getElementById('root')
if (root !== null) {
  render(<App relay={relay} />, root)
  relay.start()
}
