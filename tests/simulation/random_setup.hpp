// The options of one history: small limits, so that a short life meets them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "muster/memory/loopback_broker.hpp"
#include "support/sim.hpp"

namespace muster::test {

/// More than any history writes: who is slow is so by age alone.
constexpr std::size_t never_unsent = 64 * 1024 * 1024;

/// `broker` is set where the history has one.
[[nodiscard]] inline Setup random_setup(Random& random, std::uint64_t seed, std::shared_ptr<LoopbackBroker>& broker) {
  Setup setup;
  setup.seed = seed;
  setup.executors = 1 + random.below(3);
  Options& o = setup.options;
  o.max_connections = random.one_in(3) ? 4 + random.below(4) : 1000;
  o.max_connections_per_ip = random.one_in(4) ? 3 : 0;
  o.connect_rate_per_ip = random.one_in(4) ? 4 : 0;
  o.connect_rate_window = 2s;
  o.max_connections_per_user = random.one_in(3) ? 2 : 0;
  o.user_limit_policy = random.one_in(3) ? UserLimitPolicy::reject_new : UserLimitPolicy::close_oldest;
  o.auth_mode = random.one_in(6) ? AuthMode::message_only : AuthMode::upgrade_or_message;
  o.close_on_permission_denied = random.one_in(8);
  o.rooms_per_connection = random.one_in(2) ? 2 : 128;
  o.awareness_per_connection = random.one_in(3) ? 2 : 16;
  o.rooms_created_per_minute = 0;
  o.message_rate = o.byte_rate = o.frame_rate = 0;
  o.waiting_commands = random.one_in(2) ? 2 : 64;
  o.unsent_soft_bytes = random.one_in(2) ? 300 + random.below(1000) : 64 * 1024;
  o.unsent_hard_bytes = random.one_in(3) ? never_unsent : o.unsent_soft_bytes * (2 + random.below(30));
  o.unsent_age = random.one_in(2) ? 10s : std::chrono::milliseconds(1000 + random.below(2000));
  o.heartbeat = random.one_in(5) ? 2s : 0s;
  o.pong_timeout = 1s;
  o.fan_out_slice = 1 + random.below(3);
  o.awareness_ttl = random.one_in(6) ? 3s : 0s;
  o.presence_scope = random.one_in(4) ? PresenceScope::tenant : PresenceScope::shared_rooms;
  o.resume_window = random.one_in(5) ? 0s : random.one_in(2) ? 3s : 20s;
  o.presence_grace = random.one_in(4) ? 0ms : random.one_in(2) ? 500ms : 3s;
  o.offline_messages = random.one_in(6) ? 0 : 1 + random.below(6);
  o.reauth_lead = random.one_in(2) ? 0s : 1s;
  o.reauth_grace = random.one_in(2) ? 0s : 1s;
  o.room.history_age = 5s;
  o.room.awareness_interval = random.one_in(3) ? 0ms : 50ms;
  if (random.one_in(3)) o.room.history_messages = 0;
  if (random.one_in(5)) o.room.presence_list_max = 2;
  o.rooms_by_prefix["small:"] = o.room;
  o.rooms_by_prefix["small:"].room_capacity = 1 + random.below(3);
  if (random.one_in(2)) o.rooms_by_prefix["small:"].capacity_counts = CapacityCounts::connections;
  o.rooms_by_prefix["short:"] = o.room;
  o.rooms_by_prefix["short:"].history_messages = 1 + random.below(3);
  if (seed % 3 == 0) o.tenant_bytes = 500 + seed % 4000;
  if (seed % 4 == 0) o.total_bytes = 500 + seed % 3000;
  if (random.one_in(4)) {
    broker = std::make_shared<LoopbackBroker>(LoopbackBroker::Limits{}, seed);
    setup.broker = broker;
    setup.nodes = 1 + random.below(3);
  }
  return setup;
}

}  // namespace muster::test
