import type { FileSystem } from '../../storage/disk-files.ts'

/** What the owner may read, its group may read too; write and everybody else stay as they are. */
const GROUP = 0o050

const withGroup = (mode: number): number => mode | (mode & 0o500) >> 3 & GROUP

/** Files and directories that members of the group may read: of a gateway that is another user. */
export function groupReadable (fs: FileSystem): FileSystem {
  return {
    ...fs,
    open: async (path, flags, mode) => await fs.open(path, flags, mode === undefined ? undefined : withGroup(mode)),
    mkdir: async (path, options) => await fs.mkdir(path, options?.mode === undefined ? options : { ...options, mode: withGroup(options.mode) })
  }
}
