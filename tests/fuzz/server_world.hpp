// One server and its clients in one thread and in virtual time: sockets of the websocketpp adapter on socket pairs, the
// real core behind them, and what holds for them whatever clients do.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <bitset>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fuzz/fuzz.hpp"
#include "fuzz/server_seams.hpp"
#include "fuzz/server_stream.hpp"
#include "fuzz/virtual_time.hpp"
#include "muster/muster.hpp"
#include "muster/protocols/json_protocol.hpp"
#include "muster/transports/websocketpp.hpp"

namespace muster::fuzz {

using namespace std::chrono_literals;

/// One client: a socket, what it still has to say, and what it heard.
struct Client {
  int descriptor = -1;
  int server = -1;  ///< the other end, while it is open
  ino_t server_inode = 0;
  std::string out;
  std::size_t sent = 0;
  std::size_t piece = 65536;  ///< so much goes out between two looks of the server
  bool stalled = false;       ///< reads nothing
  bool ended = false;         ///< heard the end
  ServerStream in;
  TimePoint began{};

  [[nodiscard]] bool open() const { return descriptor >= 0; }
  /// Whether the server has this socket still.
  [[nodiscard]] bool held() const {
    struct stat at {};
    return server >= 0 && ::fstat(server, &at) == 0 && at.st_ino == server_inode;
  }
  /// Bytes the server has taken from the socket. Only while it is held.
  [[nodiscard]] std::size_t taken() const {
    int waiting = 0;
    ::ioctl(server, FIONREAD, &waiting);
    return sent - static_cast<std::size_t>(waiting);
  }
  void cut() {
    if (descriptor >= 0) ::close(std::exchange(descriptor, -1));
    out.clear();
  }
};

struct WorldOptions {
  Options core;
  websocketpp::ListenerOptions listener;
  bool late = false;           ///< seams answer when they are told to
  bool small_buffers = false;  ///< in the kernel, so that writing has to wait
  bool loopback = false;
};

class World {
 public:
  static constexpr std::size_t most_out = 1024 * 1024;
  /// What a socket holds on the way, and so what one read brings, at most.
  static constexpr std::size_t one_read = 32 * 1024;
  /// What a message is kept with, and the room or queue it is kept in.
  static constexpr std::size_t each_kept = 2048;

  explicit World(WorldOptions options) : options_(std::move(options)), descriptors_(open_descriptors()) {
    reset_clock();
    seams_->late = options_.late;
    Components components;
    components.protocols = {std::make_shared<JsonProtocol>()};
    components.random_seed = 9;
    manager_ = make_connection_manager(options_.core, std::make_shared<FuzzAuthenticator>(seams_),
                                       std::make_shared<FuzzAuthorizer>(seams_), std::move(components));
    manager_->on("app", [](Connection& connection, const Payload& payload) {
      if (payload.view().size() > 100) return connection.close(CloseReason::normal);
      connection.reply(payload);
      connection.publish("r1", payload);
    });
    io_ = std::make_unique<asio::io_context>(1);
    loop_ = websocketpp::detail::SocketLoop::of(*io_);
    listener_ = std::make_shared<websocketpp::detail::ListenerState>(manager_, options_.listener);
    listener_->loopback = options_.loopback;
    for (Client& client : clients_) client.out.reserve(4096);
    at_start_ = held_bytes() - own_bytes();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Client& client(unsigned which) { return clients_[which % clients_.size()]; }
  [[nodiscard]] IConnectionManager& manager() { return *manager_; }
  [[nodiscard]] Seams& seams() { return *seams_; }
  [[nodiscard]] websocketpp::detail::SocketLoop& loop() { return *loop_; }

  /// A new socket in place of this client's, as the acceptor would take it.
  void connect(Client& client) {
    client.cut();
    client = Client();
    client.out.reserve(4096);
    const RemoteAddress peer = RemoteAddress::v4(127, 0, 0, 1);
    Reservation place =
        manager_->reserve(listener_->trusted_proxies.contain(peer) ? RemoteAddress() : peer, loop_->executor->now());
    const bool extra = !place;
    if (extra && !listener_->take_extra()) return;
    int pair[2];
    must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0, "there are sockets");
    const int small = 4096;
    if (options_.small_buffers) ::setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    ::setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    struct stat at {};
    ::fstat(pair[1], &at);
    client.descriptor = pair[0];
    client.server = pair[1];
    client.server_inode = at.st_ino;
    client.began = loop_->executor->now();
    loop_->sockets.fetch_add(1);
    using websocketpp::detail::Stream;
    std::make_shared<websocketpp::detail::Socket>(loop_, listener_, Stream(pair[1], nullptr), peer, std::move(place),
                                                  extra)
        ->start();
  }

  void say(Client& client, std::string_view bytes) {
    if (client.open() && client.out.size() + bytes.size() <= most_out) client.out.append(bytes);
  }

  /// Lets everything happen that happens without more time or words; then all promises hold.
  void settle() {
    for (int quiet = 0; quiet < 2;) {
      bool moved = false;
      for (Client& client : clients_) moved = pump(client) || moved;
      const std::size_t ran = turn();
      quiet = moved || ran != 0 ? 0 : quiet + 1;
      idle_turns_ = moved ? 0 : idle_turns_ + 1;
      must(idle_turns_ < 1000, "a server that nobody talks to comes to rest");
    }
    idle_turns_ = 0;
    check();
  }
  /// A few handlers only.
  void step(unsigned handlers) {
    for (Client& client : clients_) (void)pump(client);
    io_->restart();
    while (handlers-- > 0 && io_->poll_one() != 0) {
    }
  }
  void advance(std::chrono::milliseconds by) { advance_clock(by); }

  /// What the program says itself is kept for it, whether anybody is there or not.
  void publish(const std::string& room, std::string words) {
    program_bytes_ += words.size() + each_kept;
    manager_->publish({"", room}, text(std::move(words)));
  }
  void queue(const std::string& user, std::string words) {
    program_bytes_ += words.size() + each_kept;
    manager_->send_to_user({"", user}, json(std::move(words)), Delivery::queued(), nullptr);
  }

  /// The clients go, and time does the rest; then nothing is left.
  void end() {
    seams_->late = false;
    for (Client& client : clients_) client.cut();
    const Options& core = options_.core;
    for (int i = 0; i < 4; ++i) {
      settle();
      while (seams_->answer(true)) settle();
      advance(core.close_timeout + core.answer_timeout + core.handshake_timeout + options_.listener.http_timeout);
    }
    advance(core.presence_grace + core.resume_window);
    settle();
    must(manager_->connection_count() == 0 && manager_->pending_count() == 0, "no connection outlives its socket");
    must(loop_->sockets.load() == 0, "the loop has no sockets");
    must(listener_->extra_sockets.load() + listener_->refused_sockets.load() + listener_->http_sockets.load() == 0,
         "no socket holds an extra place");
    Metrics left = manager_->metrics();
    must(left.reserved == 0, "every place was given back");
    must(left.users == 0 && left.awareness_entries == 0 && left.sessions_held == 0, "nobody is there");
    must(left.waiting_bytes == 0, "nothing waits for anybody");
    advance(core.room.history_age + core.idempotency_age);
    for (int i = 0; i < 2; ++i) {
      std::size_t findings = 0;
      manager_->sweep_now([&findings](std::size_t found) { findings = found; });
      settle();
      must(findings == 0, "the sweep finds nothing");
      advance(core.sweep_interval);
    }
    settle();
    left = manager_->metrics();
    must(left.rooms == 0, "no room outlives its history");
    bool down = false;
    manager_->shutdown([&down] { down = true; });
    settle();
    must(down, "a server without sockets shuts down at once");
    close();
  }

  /// The io_context goes first, with everything that stands on it.
  void break_off() {
    close();
    for (Client& client : clients_) client.cut();
  }

 private:
  void close() {
    seams_->asked.clear();
    loop_.reset();
    io_.reset();
    listener_.reset();
    manager_.reset();
    for (Client& client : clients_) client.cut();
    must(open_descriptors() == descriptors_, "no descriptor is left open");
  }

  static std::bitset<64> open_descriptors() {
    std::bitset<64> open;
    for (int descriptor = 0; descriptor < 64; ++descriptor)
      open[static_cast<std::size_t>(descriptor)] = ::fcntl(descriptor, F_GETFD) != -1;
    return open;
  }

  std::size_t turn() {
    io_->restart();
    return io_->poll();
  }

  /// Whether bytes went either way.
  bool pump(Client& client) {
    if (!client.open()) return false;
    bool moved = false;
    const std::size_t piece = std::max(client.piece, client.out.size() / 256);
    if (!client.out.empty()) {
      const ssize_t n =
          ::send(client.descriptor, client.out.data(), std::min(piece, client.out.size()), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) {
        client.out.erase(0, static_cast<std::size_t>(n));
        client.sent += static_cast<std::size_t>(n);
        moved = true;
      } else if (errno != EAGAIN) {
        client.out.clear();
      }
    }
    if (client.stalled || client.ended) return moved;
    static char bytes[64 * 1024];
    const ssize_t n = ::recv(client.descriptor, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) client.in.read({bytes, static_cast<std::size_t>(n)});
    if (n == 0) client.in.end();
    client.ended = n == 0 || (n < 0 && errno != EAGAIN);
    return moved || n > 0;
  }

  /// What this side of the test holds.
  [[nodiscard]] std::size_t own_bytes() const {
    std::size_t bytes = 0;
    for (const Client& client : clients_) bytes += client.out.capacity() + client.in.held();
    return bytes;
  }

  void check() {
    const Options& core = options_.core;
    const Metrics now = manager_->metrics();
    must(now.sweep_findings == 0 && now.callback_failures == 0, "no table contradicts another");
    must(now.closed[static_cast<std::size_t>(CloseReason::internal_error)] == 0, "nothing goes wrong inside");
    must(core.max_connections == 0 || now.reserved <= 2 * core.max_connections,
         "no more places than there are, and are lent");
    check_strangers(now);
    for (Client& client : clients_) check_rate(client, now);
  }

  /// Who has not said who it is, is held little for: the head, `pre_auth_bytes`, what one read brought; and a loop's own.
  void check_strangers(const Metrics& now) const {
    const Options& core = options_.core;
    if (now.connections_total != 0) return;
    std::size_t sockets = 0;
    for (const Client& client : clients_) {
      if (!client.held()) continue;
      ++sockets;
      if (goes_on(client)) {
        at_most(client.taken(), core.handshake_bytes + core.pre_auth_bytes + one_read,
                "strangers are charged as it comes in");
      }
    }
    const std::size_t context = options_.listener.deflate_client_window_bits != 0 ? 32 * 1024 : 0;
    const std::size_t each = core.handshake_bytes * 8 + core.pre_auth_bytes + one_read + context + 16 * 1024;
    // Its buffers, and a deflater for each window that clients may ask for.
    const std::size_t loops = 192 * 1024 + (options_.listener.deflate ? 7 * 300 * 1024 : 0);
    at_most(held_bytes() - own_bytes(), at_start_ + program_bytes_ + loops + sockets * each,
            "strangers are held little for");
  }

  /// Whoever was never refused has sent no more than its rate lets pass: on the wire, compressed or not.
  void check_rate(const Client& client, const Metrics& now) const {
    const Options& core = options_.core;
    if (core.byte_rate == 0 || now.rate_limited != 0 || !client.held() || !goes_on(client)) return;
    const auto seconds = std::chrono::duration<double>(loop_->executor->now() - client.began).count();
    const auto rate = static_cast<std::size_t>(static_cast<double>(core.byte_rate) * (2 + seconds));
    at_most(client.taken(), rate + core.handshake_bytes + one_read + core.max_message_bytes,
            "bytes are charged as they come in");
  }

  /// Whether its connection is open, as far as it knows, and it would know.
  [[nodiscard]] static bool goes_on(const Client& client) {
    return client.in.status() == 101 && !client.in.closed() && !client.stalled && !client.ended;
  }

  const WorldOptions options_;
  const std::bitset<64> descriptors_;
  const std::shared_ptr<Seams> seams_ = std::make_shared<Seams>();
  std::shared_ptr<IConnectionManager> manager_;
  std::unique_ptr<asio::io_context> io_;
  std::shared_ptr<websocketpp::detail::SocketLoop> loop_;
  std::shared_ptr<websocketpp::detail::ListenerState> listener_;
  std::array<Client, 4> clients_;
  std::size_t at_start_ = 0;
  std::size_t program_bytes_ = 0;
  int idle_turns_ = 0;
};

}  // namespace muster::fuzz
