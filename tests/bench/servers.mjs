// Which servers are measured: how each is started, and what its clients say.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A token for each connection, so that muster authenticates every one of them as a user of its own. */
export function writeTokens(file, count) {
  const tokens = {};
  for (let i = 0; i < count; ++i) tokens[`token-${i}`] = { user: `user-${i}` };
  writeFileSync(file, JSON.stringify(tokens));
}

const MUSTER_FLAGS = '--max-connections 0 --max-connections-per-ip 0 --connect-rate-per-ip 0 --message-rate 0 --byte-rate 0 ' +
  '--frame-rate 0 --room-capacity 0 --presence-scope none --threads 1';

/** What is measured: how each server is started, and what its clients say. `build`: the folder of the preset. */
export function servers(build, tokensFile) {
  const join_ = '{"type":"join","id":1,"payload":{"room":"r%r"}}';
  // echo: whoever publishes gets it too, as from the other two.
  const publish = '{"type":"publish","payload":{"room":"r%r","data":"%d","echo":true}}';
  const state = '{"type":"publish","payload":{"room":"r%r","data":"%d","delivery":{"latest":"cursor"}}}';
  const aware = '{"type":"awareness_update","payload":{"room":"r%r","client":"c%i","clock":%n,"state":{"at":"%d"}}}';
  return {
    muster: {
      executable: join(build, 'examples/server/muster_server'),
      flags: ({ heartbeat = '0', awarenessInterval = '50ms' }) => ['--auth', `tokens:${tokensFile}`, '--port', 0, '--heartbeat', heartbeat,
        ...(heartbeat === '0' ? [] : ['--pong-timeout', heartbeat]),
        '--awareness-interval', awarenessInterval, ...MUSTER_FLAGS.split(' ')],
      client: ({ awarenessInterval, latest }) => ['--path', '/ws', '--header', 'Sec-WebSocket-Protocol: muster.v1.json', '--header', 'Authorization: Bearer token-%i',
        '--hello', join_, '--publish', awarenessInterval ? aware : latest ? state : publish],
    },
    floor: { executable: join(build, 'tests/bench/muster_bench_floor_server'), flags: () => [], client: () => ['--path', '/r%r'] },
    plain: { executable: join(build, 'tests/bench/muster_bench_plain_server'), flags: () => [], client: () => [] },
  };
}
