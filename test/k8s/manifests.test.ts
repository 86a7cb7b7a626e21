import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { loadConfig } from '../../schemas/config/load.ts';
import * as server from '../../server/config.ts';
import * as worker from '../../worker/config.ts';
import { faults, type Manifest, manifests } from './manifests.ts';

const all = manifests();
const named = (kind: string, name: string): Manifest => {
  const found = all.find(({ manifest }) => manifest.kind === kind && manifest.metadata.name === name);
  assert.ok(found !== undefined, `${kind} ${name}`);
  return found.manifest;
};

/** The value at a path of keys and indexes; undefined where it ends early. */
function at(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>(
    (node, key) =>
      typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[key] : undefined,
    value,
  );
}
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const pods = all
  .map(({ manifest }) => ({ manifest, pod: at(manifest, 'spec', 'template', 'spec') }))
  .filter(({ pod }) => pod !== undefined);

describe('k8s manifests', () => {
  for (const { file, manifest } of all) {
    it(`${file}: ${manifest.kind} ${manifest.metadata.name} is what Kubernetes takes`, () => {
      assert.deepEqual(faults(manifest), []);
    });
  }

  it('hold the proxy with Postgres and Redis, and the worker', () => {
    const kinds = all.map(({ manifest }) => `${manifest.kind} ${manifest.metadata.name}`);
    for (const wanted of [
      'Namespace starlight',
      'Secret starlight',
      'StatefulSet starlight-postgres',
      'Service starlight-postgres',
      'Deployment starlight-redis',
      'Service starlight-redis',
      'ConfigMap starlight-proxy',
      'Deployment starlight-proxy',
      'Service starlight-proxy',
      'ConfigMap starlight-worker',
      'DaemonSet starlight-worker',
    ]) {
      assert.ok(kinds.includes(wanted), wanted);
    }
  });

  for (const { manifest, pod } of pods) {
    const name = `${manifest.kind} ${manifest.metadata.name}`;
    it(`${name}: labels select its pods, and no Service's variables reach them`, () => {
      const labels = at(manifest, 'spec', 'template', 'metadata', 'labels');
      for (const [key, value] of Object.entries(at(manifest, 'spec', 'selector', 'matchLabels') ?? {})) {
        assert.equal(at(labels, key), value);
      }
      assert.equal(at(pod, 'enableServiceLinks'), false);
    });

    it(`${name}: mounts only its volumes, and takes only keys that the Secret has`, () => {
      const claims = list(at(manifest, 'spec', 'volumeClaimTemplates')).map((claim) =>
        at(claim, 'metadata', 'name'),
      );
      const volumes = [...list(at(pod, 'volumes')).map((volume) => at(volume, 'name')), ...claims];
      for (const container of list(at(pod, 'containers'))) {
        for (const mount of list(at(container, 'volumeMounts')))
          assert.ok(volumes.includes(at(mount, 'name')));
        for (const variable of list(at(container, 'env'))) {
          const key = at(variable, 'valueFrom', 'secretKeyRef', 'key');
          if (key !== undefined) assert.ok(at(named('Secret', 'starlight'), 'stringData', String(key)));
        }
      }
    });

    it(`${name}: has probes that are answered`, () => {
      const container = at(pod, 'containers', 0);
      for (const [probe, path] of [
        ['livenessProbe', '/healthz'],
        ['readinessProbe', '/readyz'],
      ] as const) {
        assert.ok(at(container, probe) !== undefined, probe);
        const http = at(container, probe, 'httpGet');
        if (http !== undefined) assert.equal(at(http, 'path'), path);
      }
    });
  }

  for (const { manifest, pod } of pods) {
    const name = `${manifest.kind} ${manifest.metadata.name}`;
    it(`${name}: may do no more than it must, and says what it takes`, () => {
      const isWorker = manifest.kind === 'DaemonSet';
      assert.equal(at(pod, 'automountServiceAccountToken'), false);
      assert.equal(at(pod, 'securityContext', 'runAsNonRoot'), isWorker ? undefined : true);
      assert.equal(
        at(pod, 'securityContext', 'seccompProfile', 'type'),
        isWorker ? undefined : 'RuntimeDefault',
      );
      for (const container of list(at(pod, 'containers'))) {
        const context = at(container, 'securityContext');
        assert.equal(at(context, 'privileged'), isWorker ? true : undefined);
        if (!isWorker) {
          assert.equal(at(context, 'allowPrivilegeEscalation'), false);
          assert.deepEqual(at(context, 'capabilities', 'drop'), ['ALL']);
        }
        for (const resource of ['cpu', 'memory']) {
          assert.ok(at(container, 'resources', 'requests', resource) !== undefined, resource);
        }
        assert.ok(at(container, 'resources', 'limits', 'memory') !== undefined);
      }
    });
  }

  it('run the image of this version, by the paths that its Dockerfile makes', () => {
    const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
    const { version } = JSON.parse(read('package.json')) as { readonly version: string };
    const dockerfile = read('k8s/Dockerfile');
    for (const [kind, name] of [
      ['Deployment', 'starlight-proxy'],
      ['DaemonSet', 'starlight-worker'],
    ] as const) {
      const container = at(named(kind, name), 'spec', 'template', 'spec', 'containers', 0);
      assert.equal(at(container, 'image'), `starlight:${version}`);
      const program = String(at(container, 'command', 0));
      assert.ok(program.startsWith('/opt/starlight/'), program);
      assert.ok(existsSync(new URL(`../../${program.slice('/opt/starlight/'.length)}`, import.meta.url)));
    }
    assert.ok(dockerfile.includes(`-t starlight:${version} `));
    assert.match(dockerfile, /^WORKDIR \/opt\/starlight$/m);
    for (const folder of ['bin', 'schemas', 'extensions', 'server', 'worker']) {
      assert.ok(dockerfile.includes(`\nCOPY ${folder} ${folder}\n`), folder);
    }
  });

  it('leave the proxy the time to drain', () => {
    const pod = at(named('Deployment', 'starlight-proxy'), 'spec', 'template', 'spec');
    const proxy = String(at(named('ConfigMap', 'starlight-proxy'), 'data', 'proxy.yaml'));
    const drainS = Number(/drainLimitMs: (\d+)/.exec(proxy)?.[1]) / 1000;
    const waitS = Number(at(pod, 'containers', 0, 'lifecycle', 'preStop', 'exec', 'command', 1));
    assert.ok(waitS > 0 && drainS + waitS < Number(at(pod, 'terminationGracePeriodSeconds')));
  });

  /** The arguments, variables and file that a program gets in its pod, for `loadConfig`. */
  const inPod = (kind: string, name: string, file: string) => {
    const container = at(named(kind, name), 'spec', 'template', 'spec', 'containers', 0);
    const secret = at(named('Secret', 'starlight'), 'stringData');
    const value = (variable: unknown) =>
      String(at(secret, String(at(variable, 'valueFrom', 'secretKeyRef', 'key'))));
    return {
      name,
      argv: list(at(container, 'args')).map(String),
      env: Object.fromEntries(
        list(at(container, 'env')).map((variable) => [String(at(variable, 'name')), value(variable)]),
      ),
      readFile: (path: string) => {
        assert.equal(path, `/etc/starlight/${file}`);
        return String(at(named('ConfigMap', name), 'data', file));
      },
    };
  };

  it("the proxy's settings are what the program takes", () => {
    const loaded = loadConfig({
      ...inPod('Deployment', 'starlight-proxy', 'proxy.yaml'),
      envPrefix: server.ENV_PREFIX,
      schema: server.ServerConfigSchema,
      check: server.checkServerConfig,
    });
    assert.deepEqual(loaded.kind === 'faults' ? loaded.faults : [], []);
    assert.ok(loaded.kind === 'config');
    const secret = at(named('Secret', 'starlight'), 'stringData');
    assert.equal(loaded.value.database.url, at(secret, 'database-url'));
    assert.equal(loaded.value.starlight.token, at(secret, 'token'));
    const url = new URL(loaded.value.database.url ?? '');
    assert.equal(url.password, at(secret, 'postgres-password'));
    const services = [url.hostname, new URL(loaded.value.cache.redisUrl ?? '').hostname];
    for (const service of services) named('Service', service);
  });

  it("the worker's settings are what the program takes", () => {
    const loaded = loadConfig({
      ...inPod('DaemonSet', 'starlight-worker', 'daemon.yaml'),
      envPrefix: worker.ENV_PREFIX,
      schema: worker.WorkerConfigSchema,
      check: worker.checkWorkerConfig,
    });
    assert.deepEqual(loaded.kind === 'faults' ? loaded.faults : [], []);
    assert.ok(loaded.kind === 'config');
    assert.equal(new URL(loaded.value.proxy.url).hostname, 'starlight-proxy.starlight.svc');
    const mounts = list(
      at(named('DaemonSet', 'starlight-worker'), 'spec', 'template', 'spec', 'containers', 0, 'volumeMounts'),
    );
    const state = mounts.find((mount) => at(mount, 'mountPath') === loaded.value.root);
    assert.equal(at(state, 'mountPropagation'), 'Bidirectional');
    for (const socket of [
      loaded.value.snapshotter.socket,
      loaded.value.control.socket,
      loaded.value.containerd.address,
    ]) {
      assert.ok(
        mounts.some((mount) => socket.startsWith(`${at(mount, 'mountPath')}/`)),
        socket,
      );
    }
  });

  it('the probed ports are those that are listened on', () => {
    const proxy = at(named('ConfigMap', 'starlight-proxy'), 'data', 'proxy.yaml');
    const port = at(
      named('Deployment', 'starlight-proxy'),
      'spec',
      'template',
      'spec',
      'containers',
      0,
      'ports',
      0,
    );
    assert.equal(at(port, 'name'), 'http');
    assert.match(String(proxy), new RegExp(`^ +port: ${at(port, 'containerPort')}$`, 'm'));
    const daemon = at(named('ConfigMap', 'starlight-worker'), 'data', 'daemon.yaml');
    const container = at(named('DaemonSet', 'starlight-worker'), 'spec', 'template', 'spec', 'containers', 0);
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      assert.match(String(daemon), new RegExp(`^ +port: ${at(container, probe, 'httpGet', 'port')}$`, 'm'));
    }
  });
});

describe('faults()', () => {
  const daemonSet = (change: (pod: Record<string, unknown>) => void): Manifest => {
    const copy = structuredClone(named('DaemonSet', 'starlight-worker'));
    change(at(copy, 'spec', 'template', 'spec') as Record<string, unknown>);
    return copy;
  };
  const BAD: readonly (readonly [what: string, manifest: () => Manifest])[] = [
    ['an unknown kind', () => ({ ...named('Service', 'starlight-proxy'), kind: 'Servise' })],
    ['an unknown version', () => ({ ...named('Service', 'starlight-proxy'), apiVersion: 'v2' })],
    ['a misspelt field', () => daemonSet((pod) => Object.assign(pod, { hostPId: true }))],
    ['a field of another type', () => daemonSet((pod) => Object.assign(pod, { hostPID: 'true' }))],
    [
      'a container without a name',
      () => daemonSet((pod) => Object.assign(pod, { containers: [{ image: 'a' }] })),
    ],
    ['no containers', () => daemonSet((pod) => delete pod['containers'])],
    [
      'an unknown volume source',
      () => daemonSet((pod) => Object.assign(pod, { volumes: [{ name: 'a', hostpath: {} }] })),
    ],
  ];
  for (const [what, manifest] of BAD) {
    it(`finds ${what}`, () => assert.notDeepEqual(faults(manifest()), []));
  }
});
