/** The part of fuse-native 2.2 that is used; the package has no types. */
declare module 'fuse-native' {
  /** Ends an operation: 0 or a count, or a negative errno, then the operation's result. */
  export type Signal = (code: number, ...results: unknown[]) => void;

  export interface Stat {
    mode: number;
    uid: number;
    gid: number;
    size: number;
    nlink: number;
    ino: number;
    rdev: number;
    blksize: number;
    blocks: number;
    /** Milliseconds since 1970, not negative. */
    mtime: number;
    atime: number;
    ctime: number;
  }

  export interface Operations {
    getattr?(path: string, done: (code: number, stat?: Stat) => void): void;
    readdir?(path: string, done: (code: number, names?: string[], stats?: Stat[]) => void): void;
    readlink?(path: string, done: (code: number, target?: string) => void): void;
    open?(path: string, flags: number, done: (code: number, handle?: number) => void): void;
    read?(
      path: string,
      handle: number,
      target: Buffer,
      length: number,
      position: number,
      done: (code: number) => void,
    ): void;
    getxattr?(path: string, name: string, position: number, done: (code: number) => void): void;
    listxattr?(path: string, done: (code: number) => void): void;
  }

  export interface Options {
    allowOther?: boolean;
    /** Goes into libfuse's option list as it is, commas and all. */
    fsname?: string;
    /** false: an operation may take for ever. */
    timeout?: number | false;
    kernelCache?: boolean;
    entryTimeout?: number;
    attrTimeout?: number;
  }

  export default class Fuse {
    constructor(mountpoint: string, operations: Operations, options: Options);
    mount(done: (error: Error | null) => void): void;
    unmount(done: (error: Error | null) => void): void;
  }
}
