/** Connections that wait to be accepted, as listeners ask for them; Linux gives at most net.core.somaxconn, listen(2). */
export const BACKLOG = 4_096
