// The floor that muster is measured against: what fan-out costs when a server does nothing else. Each message is framed
// once into its room's buffer, and each member gets one send() for all that one wake-up read. No limits, no
// authentication, no checks of what clients send. The request's path names the room.
// With a certificate it speaks TLS, as OpenSSL does by itself: each member then gets one SSL_write().
// usage: muster_bench_floor_server [PORT [CERTIFICATE KEY]]

#include <sys/epoll.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "frames.hpp"
#include "sockets.hpp"
#include "tls.hpp"

namespace muster::bench {
namespace {

/// A member that lets more than this pile up is closed: the bound that muster has as well.
constexpr std::size_t max_unsent_bytes = 1024 * 1024;
/// The load client always sends the key that RFC 6455 has as its example, so that the answer is always the same.
constexpr std::string_view upgrade_answer =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
constexpr std::string_view greeting = R"({"type":"room_joined"})";

struct Room;

struct Connection {
  int descriptor;
  Room* room = nullptr;
  std::size_t place = 0;  // among the room's members
  std::string unread{};   // of a frame or request that is not whole yet
  std::string unsent{};
  bool ended = false;
  Tls tls{};
};

struct Member {
  /// Where to send without another look at the connection; -1 while it has bytes unsent, or has ended.
  int descriptor;
  Connection* connection;
};

struct Room {
  std::vector<Member> members;
  std::string batch;  // frames of this wake-up
};

class FloorServer {
 public:
  /// Plain without a `tls`.
  FloorServer(std::uint16_t port, TlsContext tls)
      : tls_(std::move(tls)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        listener_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    if (epoll_ < 0 || listener_ < 0) fail("socket");
    set_option(listener_, SOL_SOCKET, SO_REUSEADDR, 1);
    const sockaddr_in address = loopback(port);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("bind");
    if (::listen(listener_, SOMAXCONN) != 0) fail("listen");
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
  }

  [[nodiscard]] unsigned port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) fail("getsockname");
    return ntohs(address.sin_port);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 512> events{};
    for (;;) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) fail("epoll_wait");
      for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)]);
      for (Room* room : batched_) deliver(*room);
      batched_.clear();
      for (Connection* connection : ended_) remove(connection);
      ended_.clear();
    }
  }

 private:
  void watch(int operation, int descriptor, std::uint32_t interest, Connection* connection) {
    epoll_event event{};
    event.events = interest;
    event.data.ptr = connection;
    if (::epoll_ctl(epoll_, operation, descriptor, &event) != 0) fail("epoll_ctl");
  }

  void handle(const epoll_event& event) {
    auto* connection = static_cast<Connection*>(event.data.ptr);
    if (connection == nullptr) {
      accept();
      return;
    }
    if ((event.events & EPOLLOUT) != 0) send_rest(*connection);
    if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) read(*connection);
  }

  void accept() {
    const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) return;
    set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    auto* connection = new Connection{descriptor};
    if (tls_) connection->tls = accept_tls(tls_.get(), descriptor);
    watch(EPOLL_CTL_ADD, descriptor, EPOLLIN, connection);
  }

  void read(Connection& connection) {
    const ssize_t count = receive(connection.descriptor, connection.tls.get(), buffer_.data(), buffer_.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
      end(connection);
      return;
    }
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
    const bool continued = !connection.unread.empty();
    if (continued) bytes = connection.unread.append(bytes);
    if (connection.room == nullptr) bytes.remove_prefix(upgrade(connection, bytes));
    if (connection.room != nullptr) bytes.remove_prefix(take_frames(connection, bytes));
    if (continued) {
      connection.unread.erase(0, connection.unread.size() - bytes.size());
    } else {
      connection.unread.assign(bytes);
    }
  }

  /// Answers the request and adds its sender to the room of the path; how many bytes that took.
  std::size_t upgrade(Connection& connection, std::string_view bytes) {
    const std::size_t end_of_head = bytes.find("\r\n\r\n");
    if (end_of_head == std::string_view::npos) return 0;
    const std::size_t path = bytes.find(' ') + 1;
    auto& room = rooms_[std::string(bytes.substr(path, bytes.find(' ', path) - path))];
    if (room == nullptr) room = std::make_unique<Room>();
    connection.room = room.get();
    connection.place = room->members.size();
    room->members.push_back({connection.descriptor, &connection});
    std::string answer(upgrade_answer);
    append_frame(answer, Sender::server, Opcode::text, greeting);
    send(connection, answer);
    return end_of_head + 4;
  }

  std::size_t take_frames(Connection& connection, std::string_view bytes) {
    Room& room = *connection.room;
    std::size_t taken = 0;
    while (const auto frame = first_frame(bytes.substr(taken))) {
      taken += frame->size;
      if (frame->opcode == Opcode::text) {
        if (room.batch.empty()) batched_.push_back(&room);
        append_frame(room.batch, Sender::server, Opcode::text, frame->payload);
      } else if (frame->opcode == Opcode::close) {
        std::string answer;
        append_frame(answer, Sender::server, Opcode::close, frame->payload);
        if (connection.unsent.empty()) send(connection, answer);
        end(connection);
      }
    }
    return taken;
  }

  void deliver(Room& room) {
    const std::string_view batch = room.batch;
    for (const Member& member : room.members) {
      if (member.descriptor < 0) {
        queue(*member.connection, batch);
        continue;
      }
      const ssize_t sent =
          transmit(member.descriptor, tls_ ? member.connection->tls.get() : nullptr, batch.data(), batch.size());
      if (sent != static_cast<ssize_t>(batch.size())) sent_in_part(*member.connection, batch, sent);
    }
    room.batch.clear();
  }

  void send(Connection& connection, std::string_view bytes) {
    if (connection.ended) return;
    const ssize_t sent = transmit(connection.descriptor, connection.tls.get(), bytes.data(), bytes.size());
    if (sent != static_cast<ssize_t>(bytes.size())) sent_in_part(connection, bytes, sent);
  }

  void sent_in_part(Connection& connection, std::string_view bytes, ssize_t sent) {
    if (sent < 0 && errno != EAGAIN) {
      end(connection);
      return;
    }
    if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
    watch(EPOLL_CTL_MOD, connection.descriptor, EPOLLIN | EPOLLOUT, &connection);
    connection.room->members[connection.place].descriptor = -1;
    queue(connection, bytes);
  }

  void queue(Connection& connection, std::string_view bytes) {
    if (connection.ended) return;
    connection.unsent.append(bytes);
    if (connection.unsent.size() <= max_unsent_bytes) return;
    reset_on_close(connection.descriptor);  // or the system would keep what it does not read
    end(connection);
  }

  void send_rest(Connection& connection) {
    if (connection.unsent.empty() || connection.ended) return;
    std::string rest;
    rest.swap(connection.unsent);
    send(connection, rest);
    if (!connection.unsent.empty() || connection.ended) return;
    watch(EPOLL_CTL_MOD, connection.descriptor, EPOLLIN, &connection);
    connection.room->members[connection.place].descriptor = connection.descriptor;
  }

  /// It goes once this wake-up is dealt with: another event may still name it.
  void end(Connection& connection) {
    if (connection.ended) return;
    connection.ended = true;
    if (connection.room != nullptr) connection.room->members[connection.place].descriptor = -1;
    ended_.push_back(&connection);
  }

  void remove(Connection* connection) {
    if (Room* room = connection->room) {
      room->members.back().connection->place = connection->place;
      room->members[connection->place] = room->members.back();
      room->members.pop_back();
    }
    ::close(connection->descriptor);
    delete connection;
  }

  TlsContext tls_;
  int epoll_;
  int listener_;
  std::unordered_map<std::string, std::unique_ptr<Room>> rooms_;
  std::vector<Room*> batched_;
  std::vector<Connection*> ended_;
  std::array<char, 256 * 1024> buffer_{};
};

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  muster::bench::raise_file_limit();
  muster::bench::TlsContext tls = argc > 3 ? muster::bench::tls_of_server(argv[2], argv[3]) : nullptr;
  static muster::bench::FloorServer server(static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0),
                                           std::move(tls));
  std::printf("listening on http://127.0.0.1:%u\n", server.port());
  std::fflush(stdout);
  server.run();
}
