import assert from 'node:assert/strict';
import { counterMetrics, MIRROR_COUNTERS, mirrorCounters } from '../../server/mirror/counters.ts';
import { metricsText } from '../../server/metrics.ts';

describe('metricsText()', () => {
  it('writes each with its help and type, as it is when it is asked for', async () => {
    let open = 1;
    const metric = { name: 'x_open', help: 'What\\is\nopen.', type: 'gauge', value: () => open } as const;
    open = 2.5;
    const found = { ...metric, name: 'x_found', help: 'Found.', value: async () => 0 };
    assert.equal(
      await metricsText([metric, found]),
      '# HELP x_open What\\\\is\\nopen.\n# TYPE x_open gauge\nx_open 2.5\n' +
        '# HELP x_found Found.\n# TYPE x_found gauge\nx_found 0\n',
    );
    assert.equal(await metricsText([]), '');
  });

  it('tells every counter of the mirror', async () => {
    const counters = mirrorCounters();
    counters.contentBytes = 7;
    const text = await metricsText(counterMetrics(counters));
    assert.match(text, /^starlight_mirror_content_bytes_total 7$/m);
    assert.equal(
      text.match(/^# TYPE starlight_mirror_[a-z_]+_total counter$/gm)?.length,
      Object.keys(MIRROR_COUNTERS).length,
    );
  });
});
