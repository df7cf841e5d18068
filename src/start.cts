#!/usr/bin/env node
/* The program. Node reads the size of its thread pool once, and loading an ES module begins with it, so this module is none. */
process.env['UV_THREADPOOL_SIZE'] ??= '16'
void import('./server.js')
