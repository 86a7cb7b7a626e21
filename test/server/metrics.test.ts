import assert from 'node:assert/strict';
import { counterMetrics, MIRROR_COUNTERS, mirrorCounters } from '../../server/mirror/counters.ts';
import { metricsText } from '../../server/metrics.ts';

describe('metricsText()', () => {
  it('writes each with its help and type, as it is when it is asked for', () => {
    let open = 1;
    const metric = { name: 'x_open', help: 'What\\is\nopen.', type: 'gauge', value: () => open } as const;
    open = 2.5;
    assert.equal(
      metricsText([metric]),
      '# HELP x_open What\\\\is\\nopen.\n# TYPE x_open gauge\nx_open 2.5\n',
    );
    assert.equal(metricsText([]), '');
  });

  it('tells every counter of the mirror', () => {
    const counters = mirrorCounters();
    counters.contentBytes = 7;
    const text = metricsText(counterMetrics(counters));
    assert.match(text, /^starlight_mirror_content_bytes_total 7$/m);
    assert.equal(
      text.match(/^# TYPE starlight_mirror_[a-z_]+_total counter$/gm)?.length,
      Object.keys(MIRROR_COUNTERS).length,
    );
  });
});
