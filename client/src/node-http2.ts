/* From the sources; the build puts `bundled/node-http2.js` in the place of this file. */

const PACKAGE = '@fails-components/webtransport'
const FILES = ['./webtransportbase.js', './client.js', './session.js', './http2/node/client.js']

const load = async (file: string): Promise<object> => await import(new URL(file, import.meta.resolve(PACKAGE)).href) as object
const [base, client, session, http2] = await Promise.all(FILES.map(load)) as [object, object, object, object]

/** The parts of fails-components that its entry for Node does not export. */
export const parts: object = { ...base, ...client, ...session, ...http2 }
