/*
 * `--import` this, and each file that the process or a thread of it resolves an import to is a line in the file LOADED_FILES names. What CommonJS modules require
 * is not in it: the packages in question have none.
 */
import { appendFileSync } from 'node:fs'
import { register } from 'node:module'
import { isMainThread } from 'node:worker_threads'

const HOOKS = `
import { appendFileSync } from 'node:fs'
export async function load (url, context, next) {
  appendFileSync(process.env.LOADED_FILES, url + '\\n')
  return await next(url, context)
}`

register(`data:text/javascript,${encodeURIComponent(HOOKS)}`)
appendFileSync(process.env.LOADED_FILES, `begins ${isMainThread ? 'process' : 'thread'}\n`)
