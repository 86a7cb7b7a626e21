/** What is wrong with a layer. */
export type LayerFault =
  /** The compressed stream is damaged, ends early, or is followed by something else. */
  | 'corrupt'
  /** The tar inside is damaged or ends early. */
  | 'tar'
  /** An entry's path leads out of the tree, or cannot be a path at all. */
  | 'path'
  /** An entry that containerd would not unpack either. */
  | 'unsupported'
  /** A sparse file whose content is nowhere in the layer as a run of bytes, or that is too large. */
  | 'sparse'
  /** A count or a length is above its named limit. */
  | 'limit'
  /** A table of contents in the layer that says something else than the layer's tar. */
  | 'toc-mismatch';

/** The one error of reading and writing layers. */
export class LayerError extends Error {
  readonly kind: LayerFault;

  constructor(kind: LayerFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LayerError';
    this.kind = kind;
  }
}
