/** What went wrong at the border between the daemon and a mounted tree. */
export type FileSystemFault =
  | { readonly kind: 'no-driver'; readonly reasons: readonly string[] }
  | { readonly kind: 'mount-failed'; readonly mountpoint: string; readonly errno?: number }
  | { readonly kind: 'unmount-failed'; readonly mountpoint: string; readonly errno?: number }
  | { readonly kind: 'content-size'; readonly path: string; readonly expectedBytes: number }
  | { readonly kind: 'closed' };

/** The one error of `worker/filesystem`; compare `fault.kind`, never the message. */
export class FileSystemError extends Error {
  readonly fault: FileSystemFault;

  constructor(fault: FileSystemFault, options?: ErrorOptions) {
    super(describeFault(fault), options);
    this.name = 'FileSystemError';
    this.fault = fault;
  }
}

function describeFault(fault: FileSystemFault): string {
  switch (fault.kind) {
    case 'no-driver':
      return `no file system driver is usable here: ${fault.reasons.join('; ')}`;
    case 'mount-failed':
      return `cannot mount on ${fault.mountpoint}${errnoText(fault.errno)}`;
    case 'unmount-failed':
      return `cannot unmount ${fault.mountpoint}${errnoText(fault.errno)}`;
    case 'content-size':
      return `content file ${fault.path} does not have its ${fault.expectedBytes} bytes`;
    case 'closed':
      return 'the file system driver is closed';
    default:
      return fault satisfies never;
  }
}

function errnoText(errno: number | undefined): string {
  return errno === undefined ? '' : ` (errno ${errno})`;
}
