import { Dispatcher } from 'undici';

/** Sends what is for one origin by one dispatcher, and everything else by another. */
export class HomeDispatcher extends Dispatcher {
  readonly #home: string;
  readonly #own: Dispatcher;
  readonly #elsewhere: Dispatcher;

  constructor(home: string, own: Dispatcher, elsewhere: Dispatcher) {
    super();
    this.#home = home;
    this.#own = own;
    this.#elsewhere = elsewhere;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const origin = options.origin === undefined ? '' : new URL(options.origin).origin;
    return (origin === this.#home ? this.#own : this.#elsewhere).dispatch(options, handler);
  }
}
