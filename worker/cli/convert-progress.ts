import type { ConvertListener } from '../../schemas/image/convert-listener.ts';
import type { ConvertedLayer } from '../../schemas/image/convert-layer.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { Descriptor } from '../../schemas/oci/types.ts';
import { ProgressLine, progressBar } from './progress-line.ts';
import { formatBytes, type Terminal } from './terminal.ts';

/** Shows how a conversion goes: a bar on a terminal, a line for each finished layer elsewhere. */
export class ConvertProgress implements ConvertListener {
  readonly #terminal: Terminal;
  readonly #line: ProgressLine;
  readonly #read = new Map<Digest, number>();
  #totalBytes = 0;
  #done = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#line = new ProgressLine(terminal);
  }

  readonly layerStarted = (layer: Descriptor): void => {
    this.#read.set(layer.digest, 0);
    this.#totalBytes += layer.size;
  };

  readonly layerProgress = (layer: Descriptor, readBytes: number): void => {
    this.#read.set(layer.digest, readBytes);
    const done = this.#read.values().reduce((sum, bytes) => sum + bytes, 0);
    const amount = `${formatBytes(done)} of ${formatBytes(this.#totalBytes)}`;
    this.#line.update(`${progressBar(done, this.#totalBytes)} ${amount}, ${this.#done} layers done`);
  };

  readonly layerDone = (layer: ConvertedLayer): void => {
    this.#done += 1;
    if (this.#terminal.json || this.#terminal.interactive) return;
    const sizes = `${formatBytes(layer.source.size)} -> ${formatBytes(layer.sizeBytes)}`;
    this.#terminal.err(`layer ${layer.source.digest.slice(0, 19)} ${sizes}, ${layer.put}\n`);
  };

  /** Takes the bar away. */
  clear(): void {
    this.#line.clear();
  }
}
