import assert from 'node:assert/strict';
import { freePort } from '../../scripts/lib/free-port.ts';
import { HealthServer } from '../../worker/health-server.ts';

describe('HealthServer', () => {
  it('is healthy at once, ready when told, and knows nothing else', async () => {
    const port = await freePort();
    const server = new HealthServer();
    await server.listen(port);
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
    try {
      assert.deepEqual([await status('/healthz'), await status('/readyz')], [200, 503]);
      server.ready = true;
      assert.deepEqual(
        [await status('/healthz'), await status('/readyz'), await status('/')],
        [200, 200, 404],
      );
    } finally {
      await server.close();
    }
  });
});
