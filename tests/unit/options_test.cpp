// Options: their defaults, what cannot be, and whose a room's are.
#include "muster/options.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace muster;

TEST_CASE("The options' defaults are the documented ones, and have no problems", "[options]") {
  const Options options;
  CHECK(problems(options).empty());
  CHECK(options.max_connections == 1000);
  CHECK(options.max_connections_per_ip == 50);
  CHECK(options.connect_rate_per_ip == 60);
  CHECK(options.auth_timeout == std::chrono::seconds(5));
  CHECK(options.max_message_bytes == 64 * 1024);
  CHECK(options.message_rate == 100);
  CHECK(options.byte_rate == 1024 * 1024);
  CHECK(options.frame_rate == 500);
  CHECK(options.rooms_per_connection == 128);
  CHECK(options.awareness_per_connection == 16);
  CHECK(options.awareness_state_bytes == 4096);
  CHECK(options.room_name_bytes == 256);
  CHECK(options.json_nesting == 32);
  CHECK_FALSE(options.allow_send);
  CHECK_FALSE(options.auth_query);
  CHECK(options.unsent_soft_bytes == 64 * 1024);
  CHECK(options.unsent_hard_bytes == 1024 * 1024);
  CHECK(options.unsent_age == std::chrono::seconds(10));
  CHECK(options.heartbeat == std::chrono::seconds(30));
  CHECK(options.pong_timeout == std::chrono::seconds(10));
  CHECK(options.sweep_interval == std::chrono::seconds(60));
  CHECK(options.resume_window == std::chrono::minutes(5));
  CHECK(options.room.room_capacity == 100);
  CHECK(options.room.awareness_entries == 1000);
  CHECK(options.room.awareness_interval == std::chrono::milliseconds(50));
  CHECK(options.room.history_messages == 1024);
  CHECK(options.room.history_bytes == 256 * 1024);
  CHECK(options.room.history_age == std::chrono::minutes(5));
}

TEST_CASE("Every misconfiguration is named", "[options]") {
  using std::chrono::milliseconds;
  struct Mistake {
    const char* field;
    void (*make)(Options&);
  };
  const Mistake mistakes[] = {
      {"auth_timeout", [](Options& o) { o.auth_timeout = milliseconds(0); }},
      {"answer_timeout", [](Options& o) { o.answer_timeout = milliseconds(-1); }},
      {"close_timeout", [](Options& o) { o.close_timeout = milliseconds(0); }},
      {"sweep_interval", [](Options& o) { o.sweep_interval = milliseconds(0); }},
      {"heartbeat", [](Options& o) { o.heartbeat = milliseconds(-1); }},
      {"pong_timeout", [](Options& o) { o.pong_timeout = milliseconds(0); }},
      {"unsent_soft_bytes", [](Options& o) { o.unsent_soft_bytes = 0; }},
      {"unsent_soft_bytes", [](Options& o) { o.unsent_soft_bytes = o.unsent_hard_bytes + 1; }},
      {"unsent_age", [](Options& o) { o.unsent_age = milliseconds(0); }},
      {"json_nesting", [](Options& o) { o.json_nesting = 0; }},
      {"room_name_bytes", [](Options& o) { o.room_name_bytes = 0; }},
      {"fan_out_slice", [](Options& o) { o.fan_out_slice = 0; }},
      {"waiting_commands", [](Options& o) { o.waiting_commands = 0; }},
      {"connect_rate_window", [](Options& o) { o.connect_rate_window = milliseconds(0); }},
      {"idempotency_age", [](Options& o) { o.idempotency_age = milliseconds(0); }},
      {"awareness_ttl", [](Options& o) { o.awareness_ttl = milliseconds(-1); }},
      {"awareness_interval", [](Options& o) { o.room.awareness_interval = milliseconds(-1); }},
      {"handshake_timeout", [](Options& o) { o.handshake_timeout = milliseconds(-1); }},
      {"reauth_lead", [](Options& o) { o.reauth_lead = milliseconds(-1); }},
      {"reauth_grace", [](Options& o) { o.reauth_grace = milliseconds(-1); }},
      {"presence_grace", [](Options& o) { o.presence_grace = milliseconds(-1); }},
      {"resume_window", [](Options& o) { o.resume_window = milliseconds(-1); }},
      {"offline_age", [](Options& o) { o.offline_age = milliseconds(0); }},
      {"drain_deadline", [](Options& o) { o.drain_deadline = milliseconds(-1); }},
      {"reconnect_window", [](Options& o) { o.reconnect_window = milliseconds(-1); }},
      {"rooms_by_prefix[\"chat:\"].history_age",
       [](Options& o) { o.rooms_by_prefix["chat:"].history_age = milliseconds(-1); }},
  };
  Options all;
  for (const Mistake& mistake : mistakes) {
    INFO(mistake.field);
    Options one;
    mistake.make(one);
    const auto found = problems(one);
    REQUIRE(found.size() == 1);
    CHECK(found[0].find(mistake.field) != std::string::npos);
    mistake.make(all);
  }
  all.heartbeat = std::chrono::seconds(30);
  all.pong_timeout = milliseconds(0);
  CHECK(problems(all).size() == std::size(mistakes) - 2);  // one field was wrong twice, one was put right
}

TEST_CASE("What cannot go together is named, with what to do", "[options]") {
  using namespace std::chrono_literals;
  Options options;
  options.heartbeat = 5s;
  options.pong_timeout = 6s;
  options.presence_grace = 10min;
  const auto found = problems(options);
  REQUIRE(found.size() == 2);
  CHECK(found[0].find("pong_timeout must be at most heartbeat") == 0);
  CHECK(found[0].find("lower it, or raise heartbeat") != std::string::npos);
  CHECK(found[1].find("presence_grace must be at most resume_window") == 0);
  options.heartbeat = 0s;      // no pings, no pongs
  options.resume_window = 0s;  // nobody comes back
  CHECK(problems(options).empty());
}

TEST_CASE("A limit that is switched off needs nothing that belongs to it", "[options]") {
  Options options;
  options.heartbeat = std::chrono::milliseconds(0);
  options.pong_timeout = std::chrono::milliseconds(0);
  options.connect_rate_per_ip = 0;
  options.connect_rate_window = std::chrono::milliseconds(0);
  options.max_connections = 0;
  options.idempotency_keys = 0;
  options.idempotency_age = std::chrono::milliseconds(0);
  options.room.awareness_interval = std::chrono::milliseconds(0);
  CHECK(problems(options).empty());
}

TEST_CASE("A room has the options of the longest prefix of its name", "[options]") {
  Options options;
  options.room.room_capacity = 1;
  options.rooms_by_prefix["canvas:"].room_capacity = 2;
  options.rooms_by_prefix["canvas:big:"].room_capacity = 3;
  options.rooms_by_prefix["d"].room_capacity = 4;
  CHECK(options.room_options("chat").room_capacity == 1);
  CHECK(options.room_options("").room_capacity == 1);
  CHECK(options.room_options("canvas").room_capacity == 1);
  CHECK(options.room_options("canvas:").room_capacity == 2);
  CHECK(options.room_options("canvas:7").room_capacity == 2);
  CHECK(options.room_options("canvas:big").room_capacity == 2);
  CHECK(options.room_options("canvas:big:7").room_capacity == 3);
  CHECK(options.room_options("d").room_capacity == 4);
  CHECK(options.room_options("my canvas:").room_capacity == 1);
  options.rooms_by_prefix[""].room_capacity = 5;
  CHECK(options.room_options("chat").room_capacity == 5);
  CHECK(options.room_options("canvas:7").room_capacity == 2);
}
