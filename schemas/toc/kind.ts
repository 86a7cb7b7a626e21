/** What a row of a layer's table says about its path. The numbers are those of the format. */
export const KIND = {
  directory: 0,
  file: 1,
  symlink: 2,
  hardlink: 3,
  chardev: 4,
  blockdev: 5,
  fifo: 6,
  /** Hides the path of the layers below. */
  whiteout: 7,
  /** Hides all that the layers below hold in this directory. */
  opaque: 8,
} as const;

export type KindName = keyof typeof KIND;
export type Kind = (typeof KIND)[KindName];

/** How many kinds there are: a number from here on is none. */
export const KIND_COUNT = 9;

/** In a column of rows: there is none. */
export const NONE = 0xffffffff;
