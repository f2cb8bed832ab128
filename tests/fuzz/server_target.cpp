// A whole server: what clients say, in whatever pieces, what they do not read, how they go, what the server does meanwhile,
// and how time passes. Each input is a server and a list of acts; server_world.hpp says what holds throughout.

#include "fuzz/server_acts.hpp"
#include "fuzz/server_world.hpp"

namespace muster::fuzz {
namespace {

WorldOptions options_of(Choices& choices) {
  WorldOptions options;
  Options& core = options.core;
  core.connect_rate_per_ip = 0;
  core.max_connections_per_ip = 0;
  core.allow_send = true;
  switch (choices.below(8)) {
    case 0:  // as it is out of the box
      break;
    case 1:  // strangers with large messages
      core.pre_auth_bytes = 1024;
      core.pre_auth_messages = 4;
      core.max_message_bytes = 1024 * 1024;
      break;
    case 2:  // bytes are what counts
      core.max_message_bytes = 4096;
      core.byte_rate = 2048;
      core.message_rate = 0;
      core.frame_rate = 100;
      break;
    case 3:  // slow peers
      core.unsent_soft_bytes = 512;
      core.unsent_hard_bytes = 16 * 1024;
      core.unsent_age = 1s;
      core.room.history_messages = 8;
      core.fan_out_slice = 1;
      options.small_buffers = true;
      break;
    case 4:  // no room
      core.max_connections = 2;
      core.max_connections_per_user = 1;
      core.user_limit_policy = UserLimitPolicy::close_oldest;
      core.room.room_capacity = 1;
      core.rooms_per_connection = 2;
      core.rooms_created_per_minute = 3;
      core.awareness_per_connection = 1;
      options.listener.extra_sockets = 1;
      break;
    case 5:  // no limits
      core.pre_auth_bytes = core.pre_auth_messages = std::size_t{1} << 30U;
      core.max_message_bytes = core.message_rate = core.byte_rate = core.frame_rate = 0;
      core.rate_limited_max = core.invalid_messages_max = 0;
      break;
    case 6:  // little patience
      core.waiting_commands = 2;
      core.message_rate = 4;
      core.rate_patience = 0ms;
      core.rate_limited_max = 3;
      core.invalid_messages_max = 3;
      core.presence_grace = 0ms;
      core.close_on_permission_denied = true;
      break;
    default:  // presence
      core.room.presence_list_max = 1;
      core.room.awareness_interval = 0ms;
      core.presence_scope = PresenceScope::tenant;
      core.awareness_ttl = 10s;
      core.resume_window = 0ms;
      core.presence_grace = 0ms;
      break;
  }
  const unsigned more = choices.byte();
  options.listener.deflate = (more & 1U) != 0;
  options.listener.deflate_min_bytes = 32;
  options.listener.deflate_client_window_bits = (more & 3U) == 3U ? 15 : 0;
  if ((more & 2U) != 0) core.refuse_with = RefuseWith::close_code;
  options.late = (more & 4U) != 0;
  if ((more & 8U) != 0) core.trusted_proxies = {"127.0.0.1"};
  if ((more & 16U) != 0) core.auth_mode = AuthMode::upgrade_only;
  if ((more & 32U) != 0) options.small_buffers = true;
  options.loopback = (more & 64U) != 0;
  if ((more & 128U) != 0) {
    options.listener.http = [](const websocketpp::HttpRequest& request) {
      websocketpp::HttpResponse response;
      response.headers = request.headers;
      response.body = std::string(request.path.size() > 20 ? 100'000 : 10, 'b');
      return response;
    };
  }
  return options;
}

}  // namespace

void run(std::string_view input) {
  Choices choices(input.substr(0, 16 * 1024));
  World world(options_of(choices));
  const bool orderly = choices.below(8) != 7;
  for (int acts = 0; acts < 200 && !choices.done(); ++acts) act(world, choices);
  orderly ? world.end() : world.break_off();
}

std::vector<std::string> seeds() { return server_seeds(); }

}  // namespace muster::fuzz
