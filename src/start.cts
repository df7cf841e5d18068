#!/usr/bin/env node
/* The program. Node reads the size of its thread pool once, and loading an ES module begins with it, so this module is none. */
process.env['UV_THREADPOOL_SIZE'] ??= '16'
// Before anything is loaded, and so begun: the first process of a container gets no signal that it does not handle. `server.ts` has handlers of its own. Node would begin to listen for
// a debugger at SIGUSR1.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const) process.on(signal, () => { if (signal === 'SIGTERM' || signal === 'SIGINT') process.exit(0) })
void import('./server.js')
