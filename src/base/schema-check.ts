import { Ajv, type Options, type ValidateFunction } from 'ajv'

/** Options of ajv for schemas that are ours: to check them too, it would compile the schema of schemas each time, and code that V8 optimizes anyway need not be made shorter first. */
export const OUR_SCHEMA = { meta: false, validateSchema: false, code: { optimize: false } } satisfies Options

/** A check of values, compiled when it is asked for first: that takes a tenth of a second, and most processes need few of them. */
export function schemaCheck<T> (schema: object, options: Options = {}): () => ValidateFunction<T> {
  let check: ValidateFunction<T> | undefined
  return () => {
    check ??= new Ajv({ ...options, ...OUR_SCHEMA }).compile<T>(schema)
    return check
  }
}
