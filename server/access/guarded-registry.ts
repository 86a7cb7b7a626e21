import type {
  Endpoint,
  Registry,
  RegistryAnswer,
  RegistryMethod,
  RegistryRequest,
} from '../registry/registry.ts';
import type { Gate } from './gate.ts';
import type { Action, Caller } from './rights.ts';

/** A registry of our own, for those alone who may use it. */
export class GuardedRegistry implements Registry {
  readonly #registry: Registry;
  readonly #gate: Gate;

  constructor(registry: Registry, gate: Gate) {
    this.#registry = registry;
    this.#gate = gate;
  }

  /** @throws {AccessError} before the registry is asked, so that nothing shows whether a thing exists. */
  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    const gate = this.#gate;
    const { endpoint, method } = request;
    const caller = await gate.caller(request.headers.authorization);
    request.signal.throwIfAborted();
    if (endpoint.kind === 'base') gate.requireEntry(caller);
    else gate.require(caller, endpoint.name, actionOf(endpoint, method));
    return await this.#registry.answer({
      ...request,
      caller: { owner: ownerOf(caller), mayPull: (name) => gate.allows(caller, name, 'pull') },
    });
  }
}

/** To look at an upload is a part of pushing; to look whether a blob is there is not, since it tells of contents. */
function actionOf(endpoint: Exclude<Endpoint, { kind: 'base' }>, method: RegistryMethod): Action {
  if (endpoint.kind === 'uploads' || endpoint.kind === 'upload') return 'push';
  if (method === 'DELETE') return 'delete';
  return method === 'GET' || method === 'HEAD' ? 'pull' : 'push';
}

function ownerOf(caller: Caller): string {
  return caller.kind === 'anonymous' ? '' : caller.name;
}
