// Plain HTTP on a listener's port: what is asked, what is answered, by whom, and when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/config.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

/// A plain HTTP request on the listener's port: one that does not ask for an upgrade to WebSocket. Its Host has been checked
/// as an upgrade's is (Options::allowed_hosts), its Origin has not: a page of any site can make a browser send one.
struct HttpRequest {
  /// As sent, except that HEAD is asked as GET; the answer's body is then left out on the way.
  std::string method;
  /// The target up to the `?`, and what follows it; both as sent, with their percent-encoding.
  std::string path;
  std::string query;
  /// In the order and spelling they came in.
  std::vector<std::pair<std::string, std::string>> headers;
  RemoteAddress remote_address;
  /// ListenerOptions::tls_client_ca_file; none: the client has shown none, it was not asked, or it has expired by now.
  std::optional<ClientCertificate> client_certificate;
  /// All of it, without the framing of chunks; at most ListenerOptions::http_body_bytes.
  std::string body;
  /// What stood where the route's path has names, in their order. Percent-decoded, whatever bytes that gives: slashes,
  /// zeros, no UTF-8.
  std::vector<std::pair<std::string, std::string>> names;

  /// The first header of this name, in whatever case; empty when there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
  /// What stood at this name of the route's path; empty: it has no such name.
  [[nodiscard]] std::string_view operator[](std::string_view name) const noexcept;
};

/// Bytes of a body, asked for as the peer takes them. Fills `to` with up to `size` of them, from where it stood, and says how
/// many; 0: there are no more; `body_not_now`: there are some later, see HttpResponder::waker. On the socket's loop, as
/// HttpHandler; what it throws is a failure.
using BodySource = std::function<std::size_t(char* to, std::size_t size)>;
constexpr std::size_t body_not_now = std::numeric_limits<std::size_t>::max();

/// What is answered. Content-Length, Transfer-Encoding and Connection are not for the hook to say; named here, they are
/// left out.
struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  /// In place of `body`, for what is large or not all there yet: `source_bytes` in all, of which no more than 32 KiB are
  /// held for a peer at a time. A source that ends before, or fails, cuts the socket, lest a part be taken for the whole.
  BodySource source;
  std::uint64_t source_bytes = 0;
  /// For `source_bytes`: the source's end is the body's. It goes out in chunks (RFC 9112, 7.1); to a peer of HTTP/1.0 up to
  /// the end of the socket.
  static constexpr std::uint64_t unknown_bytes = std::numeric_limits<std::uint64_t>::max();
};

/// Answers plain HTTP requests: health checks, metrics, the files of a page.
/// Threads: called on the loop of the socket, on several loops at once when there are several; it must not block.
/// What it throws is answered 500, and is not logged.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

/// Answers one request, once. A handler that takes one may return before it has answered, and keep it: until then the peer
/// waits, at most as long as ListenerOptions::http_answer_timeout says, and is then answered 503. Only the first answer
/// counts; after that time, or when the peer is gone, an answer does nothing. One that is destroyed without an answer
/// answers 500.
///
/// Ownership: the handler's; it can be moved, and not copied. Threads: one at a time, any; also after the listener is gone.
class HttpResponder {
 public:
  /// The other end, which is the socket's.
  class Receiver {
   public:
    virtual ~Receiver() = default;
    virtual void answer(HttpResponse response) = 0;
    virtual void dropped() noexcept = 0;
    virtual void wake() = 0;

   protected:
    Receiver() = default;
    Receiver(const Receiver&) = default;
    Receiver& operator=(const Receiver&) = default;
  };

  explicit HttpResponder(std::shared_ptr<Receiver> receiver) : receiver_(std::move(receiver)) {}
  HttpResponder(HttpResponder&& other) noexcept = default;
  HttpResponder& operator=(HttpResponder&& other) noexcept {
    if (this != &other) {
      drop();
      receiver_ = std::move(other.receiver_);
    }
    return *this;
  }
  HttpResponder(const HttpResponder&) = delete;
  HttpResponder& operator=(const HttpResponder&) = delete;
  ~HttpResponder() { drop(); }

  void operator()(HttpResponse response) {
    if (const auto receiver = std::move(receiver_)) receiver->answer(std::move(response));
  }
  /// Asks the source of this answer again after it has said `body_not_now`. Taken before the answer is given; may be kept,
  /// copied and called at any time, in any thread: a call too many does nothing. A peer that ends its side meanwhile is
  /// taken to be gone; that its source may have nothing for ever is the program's to bound.
  [[nodiscard]] std::function<void()> waker() const {
    return [receiver = receiver_] {
      if (receiver) receiver->wake();
    };
  }

 private:
  void drop() noexcept {
    if (const auto receiver = std::move(receiver_)) receiver->dropped();
  }

  std::shared_ptr<Receiver> receiver_;
};

/// A handler that may answer after it has returned. As HttpHandler; what it throws is answered 500, whatever it has done
/// with the responder.
using RespondingHttpHandler = std::function<void(HttpRequest, HttpResponder)>;

/// Handlers of plain HTTP by method and path.
///
/// A path is as a request has it, percent-encoded and without the query; a segment in braces, as in "/rooms/{room}/state",
/// stands for any text without a slash, at least one character, which HttpRequest::names has. Of several that fit the first
/// that was added answers. HEAD is answered by the handler of GET, and OPTIONS, unless it has a handler, with the methods
/// that are there. A path of which only other methods are there is answered 405 with those, any other path by
/// ListenerOptions::http, or 404. A request that nobody answers is not read beyond its head.
class HttpRoutes {
 public:
  /// Throws std::invalid_argument, which names it, for a path that no request can have, a method that is none, HEAD, no
  /// handler, and a route that an earlier one hides.
  HttpRoutes& add(std::string method, std::string path, HttpHandler handler);
  HttpRoutes& add(std::string method, std::string path, RespondingHttpHandler handler);

  [[nodiscard]] bool empty() const noexcept { return routes_.empty(); }

  /// Who answers.
  struct Route {
    std::string method;
    std::string path;
    HttpHandler handler;  ///< one of the two
    RespondingHttpHandler responding;
  };
  struct Found {
    const Route* route = nullptr;
    /// Where there is none, the methods that the path has, for the header Allow; empty: no route has this path.
    std::string allow;
    std::vector<std::pair<std::string, std::string>> names;
  };
  [[nodiscard]] Found find(std::string_view method, std::string_view path) const;

 private:
  HttpRoutes& add(Route route);

  std::vector<Route> routes_;
};

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster

#if !defined(MUSTER_COMPILED)
#include "muster/transports/websocketpp/http.ipp"
#endif
