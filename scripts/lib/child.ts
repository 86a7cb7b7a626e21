import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Servers and commands that the demo, the benchmarks and the tests run, each on paths of its own. */

const STOP_LIMIT_MS = 20_000;
const POLL_MS = 20;

export interface ServerOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Where standard output and error go. */
  readonly logFile: string;
  /** The name of a network namespace to run in (a file of /run/netns). */
  readonly namespace?: string;
  /** Whom it runs as; without its other groups. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Ends the wait until it is ready, and it with that. */
  readonly signal?: AbortSignal;
}

/** Asked again and again until it is true; `printed` gives what the server has printed since it was started. */
export type Ready = (printed: () => string) => Promise<boolean>;

/**
 * A child process that is meant to run until it is stopped. It is sent TERM when this process dies. A Ctrl-C in the
 * terminal does not reach it, since it is in a session of its own: whoever started it stops it, in the right order.
 */
export class Server implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #options: ServerOptions;

  private constructor(child: ChildProcess, options: ServerOptions) {
    this.#child = child;
    this.#options = options;
  }

  /** Starts it and waits until it is ready. @throws {Error} with the log's end when it is not in time; the signal's. */
  static async start(options: ServerOptions, ready: Ready, limitMs = 30_000): Promise<Server> {
    const log = openSync(options.logFile, 'a');
    const before = fstatSync(log).size;
    const { user } = options;
    const identity =
      user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
    const argv = ['--pdeathsig', 'TERM', ...identity, '--', options.command, ...options.args];
    const [command, args] =
      options.namespace === undefined
        ? ['setpriv', argv]
        : ['nsenter', [`--net=/run/netns/${options.namespace}`, '--', 'setpriv', ...argv]];
    const child = spawn(command, args, {
      stdio: ['ignore', log, log],
      detached: true,
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    closeSync(log);
    const server = new Server(child, options);
    const failed = new Promise<never>((_, reject) => child.once('error', reject));
    const printed = () => readFileSync(options.logFile).subarray(before).toString();
    const until = Date.now() + limitMs;
    for (;;) {
      if (await Promise.race([ready(printed).catch(() => false), failed])) return server;
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(server.#complaint('ended'));
      if (options.signal?.aborted === true) {
        await server.stop();
        throw options.signal.reason;
      }
      if (Date.now() > until) {
        await server.stop();
        throw new Error(server.#complaint(`was not ready within ${limitMs} ms`));
      }
      await delay(POLL_MS);
    }
  }

  #complaint(what: string): string {
    const end = readFileSync(this.#options.logFile, 'utf8').trimEnd().split('\n').slice(-20).join('\n');
    return `${this.#options.command} ${what}:\n${end}`;
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Sends a signal, and waits for nothing. */
  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  log(): string {
    return readFileSync(this.#options.logFile, 'utf8');
  }

  /** Sends `signal` and waits for the end; after a limit it is killed. Its exit code, or -1 after a signal. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', limitMs = STOP_LIMIT_MS): Promise<number> {
    if (this.running) {
      const ended = once(this.#child, 'exit');
      this.#child.kill(signal);
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), limitMs);
      await ended;
      clearTimeout(timer);
    }
    return this.#child.exitCode ?? -1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly namespace?: string;
  /** Whom it runs as. */
  readonly user?: { readonly uid: number; readonly gid: number };
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** True: once `signal` is aborted, whatever the command has started is killed with it. It is in a session of its own. */
  readonly whole?: boolean;
  /** Lets the command's standard error through, line by line as it comes. */
  readonly inheritStderr?: boolean;
  /** Written to the command's standard input. */
  readonly input?: string;
}

const MAX_OUTPUT_BYTES = 64 << 20;

/** Runs a command to its end and returns what it printed, whatever its exit code. */
export function tryRun(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const [file = '', ...argv] = [
    ...(options.whole === true ? ['setsid'] : []),
    ...(options.namespace === undefined ? [] : ['nsenter', `--net=/run/netns/${options.namespace}`, '--']),
    ...[command, ...args],
  ];
  return new Promise((resolve, reject) => {
    const child = execFile(
      file,
      argv,
      {
        env: { ...process.env, ...options.env },
        maxBuffer: MAX_OUTPUT_BYTES,
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        ...options.user,
        ...(options.timeoutMs === undefined
          ? {}
          : { timeout: options.timeoutMs, killSignal: 'SIGKILL' as const }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ code: 0, stdout, stderr });
        else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
        else if (error.killed || error.signal)
          resolve({ code: -1, stdout, stderr: `${stderr}\n(killed: ${error.signal})` });
        else reject(error);
      },
    );
    const { pid } = child;
    if (options.whole === true && pid !== undefined) {
      const killAll = () => {
        try {
          process.kill(-pid, 'SIGKILL');
        } catch {
          // it has ended by itself
        }
      };
      options.signal?.addEventListener('abort', killAll, { once: true });
      child.once('close', () => options.signal?.removeEventListener('abort', killAll));
    }
    if (options.inheritStderr === true) child.stderr?.pipe(process.stderr, { end: false });
    child.stdin?.on('error', () => undefined); // the command may end without reading its input
    child.stdin?.end(options.input ?? '');
  });
}

/** Runs a command to its end. @throws {Error} with what it printed when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const result = await tryRun(command, args, options);
  if (result.code !== 0) {
    throw new Error(
      `${command} ${args.join(' ')}: exit code ${result.code}\n${result.stdout}${result.stderr}`,
    );
  }
  return result.stdout;
}

/** A `ready` test: true when it has printed what `pattern` matches. */
export function prints(pattern: RegExp): Ready {
  return async (printed) => pattern.test(printed());
}

/** A `ready` test: true when an HTTP GET of `url` is answered with a status below 500. */
export function answers(url: string, namespace?: string): Ready {
  if (namespace !== undefined) {
    return async () =>
      (await tryRun('curl', ['-s', '-o', '/dev/null', '-m', '2', '-f', url], { namespace })).code === 0;
  }
  return async () => (await fetch(url, { signal: AbortSignal.timeout(2000) })).status < 500;
}
