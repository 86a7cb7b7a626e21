import { type ChildProcess, spawn } from 'node:child_process';

export interface ServerProcess {
  readonly child: ChildProcess;
  /** Ends it with `signal`, and resolves when it has gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export interface ServerCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
  /** What it prints, to stdout or stderr, when it serves. */
  readonly ready: RegExp;
}

const START_LIMIT_MS = 60_000;
const OUTPUT_LIMIT = 200_000;

/** Starts a real server and resolves when it says that it is ready; rejects with its output when it ends first. */
export function startServer({ command, args, ready, ...options }: ServerCommand): Promise<ServerProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    const gone = new Promise<void>((done) => child.once('close', () => done()));
    const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await gone;
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${command} was not ready after ${START_LIMIT_MS} ms:\n${output}`));
    }, START_LIMIT_MS);
    const onData = (data: Buffer) => {
      if (output.length < OUTPUT_LIMIT) output += data.toString();
      if (!ready.test(output)) return;
      clearTimeout(timer);
      resolve({ child, stop });
    };
    child.stdout.on('data', onData);
    child.stderr.on('data', onData);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`${command} ended (${code ?? signal}) before it was ready:\n${output}`));
    });
  });
}
