// How an authenticator's errors reach a client: each code its own status and close code, what is thrown as internal.
#include <stdexcept>

#include "muster/auth/allow_all.hpp"
#include "muster/auth/callback_authenticator.hpp"
#include "support/checked_sim.hpp"

namespace muster::test {
namespace {

struct Case {
  Error error;
  CloseReason reason;
  unsigned status;
  unsigned code;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {{errc::auth_failed, "It has expired", {}}, CloseReason::auth_failed, 401, 4002},
      {{errc::auth_required, "A better one", {}}, CloseReason::auth_required, 401, 4001},
      {{errc::permission_denied, "You are banned", {}}, CloseReason::permission_denied, 403, 4003},
      {{errc::rate_limited, "Too many guesses", 5s}, CloseReason::rate_limited, 429, 1008},
      {{errc::unavailable, "The users' table is down", 3s}, CloseReason::over_capacity, 503, 1013},
      {{errc::internal, "It failed", {}}, CloseReason::internal_error, 500, 1011},
      {{errc::not_found, "No such user", {}}, CloseReason::auth_failed, 401, 4002},  // 404 would be the path's
  };
  return all;
}

class Lines final : public Observer {
 public:
  void log(LogLevel level, std::string_view message) override { lines.emplace_back(level, message); }
  [[nodiscard]] std::size_t with(LogLevel level, std::string_view part) const {
    return static_cast<std::size_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
      return line.first == level && line.second.find(part) != std::string::npos;
    }));
  }
  std::vector<std::pair<LogLevel, std::string>> lines;
};

/// A manager whose authenticator is a callback.
template <class Callback>
struct Called {
  explicit Called(Callback callback, AuthMode mode = AuthMode::upgrade_or_message) {
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    components.observer = log;
    Options options;
    options.connect_rate_per_ip = 0;
    options.auth_mode = mode;
    manager = make_connection_manager(options, callback_authenticator(std::move(callback)),
                                      std::make_shared<AllowAll>(), std::move(components));
  }
  ~Called() {
    manager->shutdown(nullptr);
    executor->advance(30s);
  }
  std::shared_ptr<MemoryTransport> open(const std::string& token, OpenRequest request = {}) {
    const auto pipe = std::make_shared<MemoryTransport>(executor);
    request.token = token;
    request.remote_address = RemoteAddress::v4(10, 0, 0, 1);
    pipe->open(manager, std::move(request));
    executor->run_ready();
    REQUIRE(pipe->answer());
    return pipe;
  }
  MemoryTransport::Answer ask(const std::string& token) { return *open(token)->answer(); }
  std::shared_ptr<Lines> log = std::make_shared<Lines>();
  std::shared_ptr<ManualExecutor> executor = std::make_shared<ManualExecutor>();
  std::shared_ptr<IConnectionManager> manager;
};

}  // namespace

TEST_CASE("an authenticator's error has its own reason, status and text at the upgrade", "[auth_errors]") {
  for (const Case& one : cases()) {
    INFO(to_string(one.error.code));
    CheckedSim sim;
    sim.authenticator->decide = [&](const Credentials&) { return one.error; };
    const auto ann = sim.connect("ann");
    const auto answer = ann.pipe().answer();
    REQUIRE(answer);
    CHECK_FALSE(answer->accepted);
    CHECK(answer->reason == one.reason);
    CHECK(describe(answer->reason).http_status == one.status);
    CHECK(describe(answer->reason).code == one.code);
    CHECK(answer->error.message == one.error.message);
    CHECK(answer->error.retry_after == one.error.retry_after);
    CHECK(answer->error.code != errc::not_found);
    CHECK(sim.manager().metrics().refused_auth == 1);
    CHECK(sim.is_empty());
  }
}

TEST_CASE("an authenticator's error has its own close code and text after the first message", "[auth_errors]") {
  for (const Case& one : cases()) {
    INFO(to_string(one.error.code));
    CheckedSim sim;
    sim.authenticator->decide = [&](const Credentials&) { return one.error; };
    auto ann = sim.connect("ann", Dial().silent());
    ann.authenticate("x");
    sim.run();
    CHECK(ann.count("auth_result") == 1);
    CHECK(ann.close_code() == one.code);
    CHECK(sim.manager().metrics().refused_auth == 1);
  }
}

TEST_CASE("renewed credentials that could not be checked leave the old ones, others end the connection",
          "[auth_errors]") {
  for (const Case& one : cases()) {
    INFO(to_string(one.error.code));
    CheckedSim sim;
    auto ann = sim.connect("ann");
    sim.authenticator->decide = [&](const Credentials&) { return one.error; };
    ann.authenticate("x");
    sim.run();
    const bool later = one.error.error_code() == condition::try_again_later;
    CHECK(ann.is_open() == later);
    CHECK(ann.count("error") == (later ? 1U : 0U));
    if (!later) CHECK(ann.close_code() == one.code);
  }
}

TEST_CASE("a callback that throws is an internal error, counted, and logged once in a window without the token",
          "[auth_errors]") {
  Called called([](const Credentials& credentials, const Reply<Authentication>&) {
    throw std::runtime_error("no such table; it was for " + credentials.token);
  });
  for (int i = 0; i < 5; ++i) {
    const auto answer = called.ask("secret-" + std::to_string(i));
    CHECK_FALSE(answer.accepted);
    CHECK(answer.reason == CloseReason::internal_error);
    CHECK(answer.error.code == errc::internal);
    CHECK(answer.error.message == "The credentials could not be checked");
  }
  CHECK(called.manager->metrics().callback_failures == 5);
  CHECK(called.manager->metrics().refused_auth == 5);
  CHECK(called.log->with(LogLevel::error, "no such table; it was for [token]") == 1);
  CHECK(called.log->with(LogLevel::info, "refused 10.0.0.1 (auth): The credentials could not be checked") == 1);
  CHECK(called.log->lines.size() == 2);
  called.executor->advance(60s);
  (void)called.ask("secret-6");
  CHECK(called.log->with(LogLevel::error, "no such table") == 2);
}

TEST_CASE("who renews its credentials is shown with the upgrade it came by, and its token stays out of the log",
          "[auth_errors]") {
  for (const char* const first : {"", "secret-1"}) {
    INFO("the first token: " << first);
    std::vector<Credentials> shown;
    Called called([&shown](const Credentials& credentials, const Reply<Authentication>& reply) {
      shown.push_back(credentials);
      if (credentials.token == "secret-3") throw std::runtime_error("no such table; it was for " + credentials.token);
      reply(accept("ann"));
    });
    OpenRequest request;
    request.query = "room=1";
    request.origin = "https://example.org";
    request.token_source = TokenSource::query;
    const auto pipe = called.open(first, std::move(request));
    const auto renew = [&](const std::string& token) {
      pipe->receive(R"({"type":"authenticate","payload":{"token":")" + token + "\"}}");
      called.executor->run_ready();
    };
    if (*first == '\0') renew("secret-1");
    renew("secret-2");
    renew("secret-3");
    REQUIRE(shown.size() == 3);
    for (std::size_t i = 0; i < shown.size(); ++i) {
      CHECK(shown[i].token == "secret-" + std::to_string(i + 1));
      CHECK(shown[i].source == (i == 0 && *first != '\0' ? TokenSource::query : TokenSource::message));
      CHECK(shown[i].connection == pipe->connection()->id());
      CHECK(shown[i].remote_address.text == "10.0.0.1");
      CHECK(shown[i].remote_address.bytes == RemoteAddress::v4(10, 0, 0, 1).bytes);
      CHECK(shown[i].path == "/ws");
      CHECK(shown[i].query == "room=1");
      CHECK(shown[i].origin == "https://example.org");
    }
    CHECK(pipe->connection()->status() == ConnectionStatus::connected);
    CHECK(called.log->with(LogLevel::error, "no such table; it was for [token]") == 1);
  }
}

TEST_CASE("a refusal that names the token is logged without it, whichever way the token came", "[auth_errors]") {
  for (const bool by_message : {false, true}) {
    INFO("by message: " << by_message);
    const auto refuse = [](const Credentials& credentials, const Reply<Authentication>& reply) {
      reply(Error{errc::auth_failed, "Nobody knows " + credentials.token, {}});
    };
    Called called(refuse, by_message ? AuthMode::message_only : AuthMode::upgrade_or_message);
    if (by_message) {
      const auto pipe = called.open("");
      REQUIRE(pipe->answer()->accepted);
      pipe->receive(R"({"type":"authenticate","payload":{"token":"secret-1"}})");
      called.executor->run_ready();
    } else {
      CHECK_FALSE(called.ask("secret-1").accepted);
    }
    CHECK(called.log->with(LogLevel::info, "refused 10.0.0.1 (auth): Nobody knows [token]") == 1);
    CHECK(called.log->with(LogLevel::info, "secret-1") == 0);
  }
}

TEST_CASE("a callback that has answered and then throws has answered, and that it threw is logged", "[auth_errors]") {
  Called called([](const Credentials&, const Reply<Authentication>& done) {
    done(accept("ann"));
    throw std::runtime_error("too late");
  });
  CHECK(called.ask("x").accepted);
  CHECK(called.log->with(LogLevel::error, "too late") == 1);
  CHECK(called.manager->metrics().callback_failures == 1);
}

TEST_CASE("an authorizer that throws is not one that is late", "[auth_errors]") {
  CheckedSim sim;
  auto ann = sim.connect("ann");
  sim.authorizer->answer = Answer::raise();
  ann.join("r");
  sim.run();
  REQUIRE(ann.last("error"));
  CHECK(ann.last("error")->text("message") == "The permission could not be checked");
  CHECK(ann.error() == "unavailable");
}

}  // namespace muster::test
