#!/usr/bin/env node
/* The program. Node reads the size of its thread pool once, and loading an ES module begins with it, so this module is none. */
process.env['UV_THREADPOOL_SIZE'] ??= '16'
// Before anything is loaded, and so begun: the first process of a container gets no signal that it does not handle. `server.ts` has handlers of its own.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => { if (signal !== 'SIGHUP') process.exit(0) })
void import('./server.js')
