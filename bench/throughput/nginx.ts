import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, Server } from '../../scripts/lib/child.ts';
import { freePort } from '../../scripts/lib/free-port.ts';
import { digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import type { PushedImage } from '../../test/support/push-image.ts';

/**
 * An nginx that serves the image's blobs and manifest as files below the paths of a registry. One process, so that
 * its processor time is that of one core at most; sendfile on, as Debian has it.
 */
export async function startNginx(
  directory: string,
  { manifest, blobs }: PushedImage,
): Promise<[Server, string]> {
  const host = `127.0.0.1:${await freePort()}`;
  const root = join(directory, 'www');
  await mkdir(join(root, 'v2/bench/blobs'), { recursive: true });
  await mkdir(join(root, 'v2/bench/manifests'));
  for (const bytes of blobs) await writeFile(join(root, 'v2/bench/blobs', digestOf(bytes)), bytes);
  await writeFile(join(root, 'v2/bench/manifests/1'), manifest);
  const config = join(directory, 'nginx.conf');
  await writeFile(
    config,
    `daemon off; master_process off; pid ${directory}/nginx.pid; error_log ${directory}/error.log;
user root;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path ${directory}/t1; proxy_temp_path ${directory}/t2; fastcgi_temp_path ${directory}/t3;
  uwsgi_temp_path ${directory}/t4; scgi_temp_path ${directory}/t5;
  server {
    listen ${host};
    root ${root};
    default_type application/octet-stream;
    location ~ /manifests/ { default_type ${MEDIA_TYPE.ociManifest}; }
  }
}
`,
  );
  const server = await Server.start(
    { command: 'nginx', args: ['-c', config, '-p', directory], logFile: join(directory, 'nginx.log') },
    answers(`http://${host}/v2/bench/manifests/1`),
  );
  return [server, host];
}
