// One user, several devices: what is copied on one is pasted on the others; each user sees which devices are signed in,
// and signs the others out.
//
//   devices [port]   then, in two terminals: npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer ann-secret"
//   > {"type":"devices","id":1}
//   > {"type":"copy","id":2,"payload":{"text":"hello"}}
//   > {"type":"sign_out_others","id":3}

#include <algorithm>
#include <cstdio>
#include <memory>
#include <muster/auth/allow_all.hpp>
#include <muster/auth/static_token_authenticator.hpp>
#include <muster/muster.hpp>
#include <muster/protocols/json_protocol.hpp>
#include <string>
#include <utility>
#include <vector>

#include "serve.hpp"

namespace {

muster::UserKey user_of(const muster::Connection& device) { return {device.identity().tenant, device.identity().user}; }

class Devices {
 public:
  /// Registers the commands. Handlers run on their connection's loop; the manager may be asked from any.
  explicit Devices(std::shared_ptr<muster::IConnectionManager> manager) : manager_(std::move(manager)) {
    manager_->on("devices", [this](muster::Connection& device, const muster::Payload&) { device.reply(list(device)); });
    manager_->on("copy", [this](muster::Connection& device, const muster::Payload& clip) {
      const std::size_t reached = send_to_others(device, clip);
      device.reply(muster::json("{\"devices\":" + std::to_string(reached) + "}"));
    });
    manager_->on("sign_out_others", [this](muster::Connection& device, const muster::Payload&) {
      std::size_t signed_out = 0;
      for (const auto& other : others(device)) {
        signed_out += manager_->kick(other.id, "Signed out from another device", false) ? 1 : 0;
      }
      device.reply(muster::json("{\"signed_out\":" + std::to_string(signed_out) + "}"));
    });
    // A user comes with the first device and goes with the last, however many there were between.
    manager_->on_user_online([](const muster::UserKey& user) { say(user, "online"); });
    manager_->on_user_offline([](const muster::UserKey& user) { say(user, "offline"); });
  }

  Devices(const Devices&) = delete;  // the handlers know this one
  Devices& operator=(const Devices&) = delete;

 private:
  static void say(const muster::UserKey& user, const char* what) {
    std::printf("%s is %s\n", user.user.c_str(), what);
    std::fflush(stdout);
  }

  [[nodiscard]] std::vector<muster::ConnectionInfo> others(const muster::Connection& device) const {
    auto found = manager_->connections_of(user_of(device));
    const auto same = [&device](const muster::ConnectionInfo& info) { return info.id == device.id(); };
    found.erase(std::remove_if(found.begin(), found.end(), same), found.end());
    return found;
  }

  std::size_t send_to_others(const muster::Connection& device, const muster::Payload& payload) {
    std::size_t reached = 0;
    for (const auto& other : others(device)) reached += manager_->send(other.id, payload);
    return reached;
  }

  [[nodiscard]] muster::Payload list(const muster::Connection& device) const {
    std::string devices;
    for (const auto& info : manager_->connections_of(user_of(device))) {
      if (!devices.empty()) devices += ",";
      devices += "{\"connection\":\"" + to_string(info.id) + "\",\"address\":\"" + info.remote_address +
                 "\",\"this\":" + (info.id == device.id() ? "true" : "false") + "}";
    }
    return muster::json("{\"devices\":[" + devices + "]}");
  }

  const std::shared_ptr<muster::IConnectionManager> manager_;
};

}  // namespace

int main(int argc, char** argv) {
  muster::Options limits;
  limits.max_connections_per_user = 5;
  limits.user_limit_policy = muster::UserLimitPolicy::close_oldest;

  const auto users = std::make_shared<muster::StaticTokenAuthenticator>(muster::StaticTokenAuthenticator::Tokens{
      {"ann-secret", {"ann", "", {}, {}}}, {"bob-secret", {"bob", "", {}, {}}}});
  muster::Components components;
  components.protocols = {std::make_shared<muster::JsonProtocol>()};
  auto manager = muster::make_connection_manager(limits, users, std::make_shared<muster::AllowAll>(), components);
  const Devices devices(manager);

  return serve(manager, argc, argv);
}
