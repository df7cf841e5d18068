/* What only somebody needs who has an answer: what reads its body, and what is wrong when it is an error. */
export { problemOf } from './problem.ts'
export { SharedBody } from './shared-body.ts'
export { compare, isRight } from './verify-body.ts'
