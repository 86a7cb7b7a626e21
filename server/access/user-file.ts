import { readFile } from 'node:fs/promises';
import { HtpasswdError, parseHtpasswd, type Users } from './htpasswd.ts';
import { WatchedFiles } from '../watched-files.ts';

/** 100,000 users have room in it. */
const MAX_FILE_CHARS = 32 << 20;

export interface UserFileOptions {
  readonly file: string;
  /** Told of each change of the file: how many users it has now, or why what was before stays. */
  readonly onReload: (outcome: { readonly users: number } | { readonly error: unknown }) => void;
  readonly pollMs?: number;
}

/** The users of an htpasswd file, as it stands now. A file that becomes faulty leaves the users as they were. */
export class UserFile implements AsyncDisposable {
  users: Users = new Map();
  #watched: WatchedFiles | undefined;

  /** @throws {HtpasswdError} naming the file, where it cannot be read or used. */
  static async open({ file, onReload, pollMs }: UserFileOptions): Promise<UserFile> {
    const made = new UserFile();
    made.#watched = await WatchedFiles.open({
      files: [file],
      load: async () => {
        made.users = await readUsers(file);
      },
      onReload: (error) => onReload(error === undefined ? { users: made.users.size } : { error }),
      ...(pollMs === undefined ? {} : { pollMs }),
    });
    return made;
  }

  async reload(): Promise<void> {
    await this.#watched?.reload();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watched?.[Symbol.asyncDispose]();
  }
}

async function readUsers(file: string): Promise<Users> {
  try {
    const text = await readFile(file, 'utf8');
    if (text.length > MAX_FILE_CHARS) throw new HtpasswdError('larger than 32 MiB');
    return parseHtpasswd(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HtpasswdError(`access.htpasswdFile: ${file}: ${reason}`, { cause });
  }
}
