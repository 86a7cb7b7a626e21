import type { PushedImage } from '../../extensions/starlight/events/pushed-image.ts';

/** Takes an image that was pushed to the registry of this key. */
export type PushListener = (key: string, pushed: readonly PushedImage[]) => void;

/** Leads what registries tell of pushes to whoever listens; registries are there before. */
export class PushRelay {
  #listener: PushListener = () => undefined;

  readonly tell: PushListener = (key, pushed) => this.#listener(key, pushed);

  listen(listener: PushListener): void {
    this.#listener = listener;
  }
}
