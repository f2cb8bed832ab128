// A whole server: what clients say, in whatever pieces, what they do not read, how they go, what the server does meanwhile,
// and how time passes. Each input is a server and a list of acts; server_world.hpp says what holds throughout.

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/server_acts.hpp"
#include "fuzz/server_world.hpp"

namespace muster::fuzz {
namespace {

/// Plain HTTP of every kind: answers at once, later and never, bodies of every size, and of none that is known.
void serve_http(websocketpp::ListenerOptions& options) {
  using websocketpp::HttpRequest;
  using websocketpp::HttpResponder;
  using websocketpp::HttpResponse;
  struct Program {
    std::vector<HttpResponder> late;
    std::vector<std::function<void()>> wake;
  };
  const auto program = std::make_shared<Program>();
  options.http_body_bytes = 4096;
  options.http_requests_per_socket = 20;
  options.http = [](const HttpRequest& request) {
    HttpResponse response;
    response.headers = request.headers;
    response.body = std::string(request.path.size() > 20 ? 100'000 : 10 + request.body.size(), 'b');
    return response;
  };
  options.routes.add("GET", "/late/{name}", [program](HttpRequest, HttpResponder respond) {
    if (program->late.size() < 8) program->late.push_back(std::move(respond));
  });
  options.routes.add("GET", "/stream", [program](HttpRequest request, HttpResponder respond) {
    if (program->wake.size() < 8) program->wake.push_back(respond.waker());
    HttpResponse response;
    response.source_bytes = request.query.empty() ? HttpResponse::unknown_bytes : 40;
    response.source = [turn = std::size_t{0}](char* to, std::size_t size) mutable -> std::size_t {
      if (++turn % 3 == 0) return websocketpp::body_not_now;
      if (turn > 8) return 0;
      std::fill_n(to, std::min<std::size_t>(size, 10), 's');
      return std::min<std::size_t>(size, 10);
    };
    respond(std::move(response));
  });
  // What is kept is answered, and what waits is woken.
  options.routes.add("POST", "/now", [program](const HttpRequest& request) {
    for (HttpResponder& respond : std::exchange(program->late, {})) {
      HttpResponse response;
      response.status = request.body.empty() ? 204 : 200;
      response.body = "late";
      if (request.body != "drop") respond(std::move(response));
    }
    for (const auto& wake : std::exchange(program->wake, {})) wake();
    return HttpResponse();
  });
}

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
      options.listener.http_sockets = 1;
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
  if ((more & 128U) != 0) serve_http(options.listener);
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
