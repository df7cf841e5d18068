/*
 * `--import` this, and each file that an import of the process or of a thread of it loads is a line in the file that LOADED_FILES names. What CommonJS modules require
 * is not in it: the packages in question have none. The package that MISSING_PACKAGE names is not found.
 */
import { appendFileSync } from 'node:fs'
import { register } from 'node:module'
import { isMainThread } from 'node:worker_threads'

const HOOKS = `
import { appendFileSync } from 'node:fs'
export async function resolve (specifier, context, next) {
  if (specifier === process.env.MISSING_PACKAGE) throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
  return await next(specifier, context)
}
export async function load (url, context, next) {
  appendFileSync(process.env.LOADED_FILES, url + '\\n')
  return await next(url, context)
}`

register(`data:text/javascript,${encodeURIComponent(HOOKS)}`)
appendFileSync(process.env.LOADED_FILES, `begins ${isMainThread ? 'process' : 'thread'}\n`)
