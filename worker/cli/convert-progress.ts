import type { ConvertListener } from '../../schemas/image/convert-listener.ts';
import type { ConvertedLayer } from '../../schemas/image/convert-layer.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { Descriptor, ImageConfig } from '../../schemas/oci/types.ts';
import { ProgressLine } from './progress-line.ts';
import { formatBytes, printable, type Terminal } from './terminal.ts';

/** Shows how a conversion goes, image by image: a bar on a terminal, a line for each finished layer elsewhere. */
export class ConvertProgress implements ConvertListener {
  readonly #terminal: Terminal;
  readonly #line: ProgressLine;
  /** Of the image that is converted now: the size of each layer. */
  #layers: ReadonlyMap<Digest, number> = new Map();
  #platform = '';
  readonly #read = new Map<Digest, number>();
  readonly #done = new Set<Digest>();

  constructor(terminal: Terminal, now?: () => number) {
    this.#terminal = terminal;
    this.#line = new ProgressLine(terminal, now);
  }

  readonly imageStarted = (layers: readonly Descriptor[], { os, architecture }: ImageConfig): void => {
    this.#layers = new Map(layers.map(({ digest, size }) => [digest, size]));
    this.#platform = os === undefined || architecture === undefined ? '' : `, ${os}/${architecture}`;
  };

  readonly layerProgress = (layer: Descriptor, readBytes: number): void => {
    this.#read.set(layer.digest, readBytes);
    this.#draw();
  };

  readonly layerDone = (layer: ConvertedLayer): void => {
    this.#done.add(layer.source.digest);
    if (this.#terminal.json || this.#terminal.interactive) return;
    const sizes = `${formatBytes(layer.source.size)} -> ${formatBytes(layer.sizeBytes)}`;
    this.#terminal.err(`layer ${layer.source.digest.slice(0, 19)} ${sizes}, ${layer.put}\n`);
  };

  /** Takes the bar away. */
  clear(): void {
    this.#line.clear();
  }

  #draw(): void {
    let [done, total, finished] = [0, 0, 0];
    for (const [digest, sizeBytes] of this.#layers) {
      total += sizeBytes;
      if (this.#done.has(digest)) finished += 1;
      done += this.#done.has(digest) ? sizeBytes : (this.#read.get(digest) ?? 0);
    }
    const layers = `${finished} of ${this.#layers.size} layers`;
    const text = `${formatBytes(done)} of ${formatBytes(total)}, ${layers}${this.#platform}`;
    this.#line.update({ done, total, text: printable(text) });
  }
}
