// Who is behind a peer, and whose page it is: X-Forwarded-For and the proxies that are believed, cookies, Host and Origin.

#include <asio/ip/address.hpp>
#include <stdexcept>

#include "fuzz/fuzz.hpp"
#include "muster/core/registry/address_table.hpp"
#include "muster/transports/websocketpp/handshake.ipp"

namespace muster::fuzz {
namespace {

using namespace muster::websocketpp::detail;
using muster::websocketpp::HttpRequest;

std::vector<std::string> entries_of(std::string_view list) {
  std::vector<std::string> entries;
  (void)any_element(list, ' ', [&entries](std::string_view entry) {
    entries.emplace_back(entry);
    return false;
  });
  return entries;
}

/// A peer's address as the kernel would tell it, or one that is written.
RemoteAddress peer_of(std::string_view text) {
  asio::error_code error;
  const auto address = asio::ip::make_address(std::string(text), error);
  return error ? RemoteAddress::v4(10, 0, 0, 1) : remote_address(address);
}

void check_address(const RemoteAddress& address) {
  asio::error_code error;
  const auto again = asio::ip::make_address(address.text, error);
  must(!error && remote_address(again).bytes == address.bytes, "the text is the address");
  for (const char c : address.text) must(c > ' ' && c < 0x7f, "an address can be logged");
  core::AddressTable table(4);
  if (table.take_place(address.bytes, {})) table.release(address.bytes, {});
  (void)table.count_connect(address.bytes, {}, TimePoint());
}

/// Who stands behind proxies that are believed cannot choose who it seems to be.
void check_forwarded(const TrustedProxies& proxies, const RemoteAddress& peer, HttpRequest request) {
  const RemoteAddress found = proxies.resolve(peer, request);
  check_address(found);
  if (!proxies.contain(peer)) must(found.bytes == peer.bytes, "nobody speaks for others who is not believed");
  if (proxies.contain(found)) return;  // all of them are, or there was nothing more to read
  request.headers.insert(request.headers.begin(), {"x-forwarded-for", "203.0.113.66, 10.0.0.1, ::1, 127.0.0.1"});
  must(proxies.resolve(peer, request).bytes == found.bytes, "what a client wrote before its proxy did changes nothing");
}

void check_cookies(const HttpRequest& request, const Options& options) {
  OpenRequest open;
  if (read_upgrade(request, options, open)) return;
  if (open.token_source != TokenSource::cookie) return;
  must(!open.origin.empty() && !open.token.empty(), "a cookie is proof only with an Origin");
  must(open.token.find(';') == std::string::npos, "a cookie's value is one");
  HttpRequest more = request;
  more.headers.emplace_back("Cookie", options.auth_cookie + "=other");
  OpenRequest again;
  must(!read_upgrade(more, options, again) && again.token == open.token, "the first cookie of a name counts");
}

/// A page that is let in is the host's own, or a listed one.
void check_pages(const HttpRequest& request, const Options& options, bool loopback) {
  if (check_host(request, true, options, loopback)) return;
  const std::string_view host = request.header("Host");
  const std::string_view origin = request.header("Origin");
  must(!host.empty() && count_headers(request, "Host") == 1, "there is one Host");
  if (check_origin(request, options)) return;
  if (origin.empty() || !options.allowed_origins.empty()) return;
  const std::size_t at = origin.find("://");
  must(at != std::string_view::npos, "an Origin has a scheme");
  std::string_view authority = origin.substr(at + 3);
  if (!authority.empty() && authority.back() == '/') authority.remove_suffix(1);  // as some libraries write it
  must(equal_ignoring_case(host_of(authority), host_of(host)), "without a list only the host's own pages get in");
}

}  // namespace

/// Lines: the choice; the proxies, the cookie's name, the hosts and the origins that are listed; the peer; then headers.
void run(std::string_view input) {
  Choices choices(input.substr(0, 16 * 1024));
  const unsigned choice = choices.byte();
  Options options;
  options.trusted_proxies = entries_of(choices.line());
  options.auth_cookie = std::string(trim(choices.line()));
  options.allowed_hosts = entries_of(choices.line());
  options.allowed_origins = entries_of(choices.line());
  const RemoteAddress peer = peer_of(choices.line());
  check_address(peer);

  HttpRequest request;
  request.method = "GET";
  request.path = "/ws";
  while (!choices.done()) {
    const std::string_view line = choices.line();
    if (line.find('\r') != std::string_view::npos) continue;
    const std::size_t colon = std::min(line.find(':'), line.size());
    request.headers.emplace_back(line.substr(0, colon), trim(line.substr(std::min(colon + 1, line.size()))));
  }
  try {
    check_forwarded(TrustedProxies(options.trusted_proxies), peer, request);
  } catch (const std::invalid_argument&) {
    // A list that is none is refused when the server starts.
  }
  check_cookies(request, options);
  check_pages(request, options, (choice & 1U) != 0);
}

std::vector<std::string> seeds() {
  return {
      std::string(1, '\0') +
          "10.0.0.0/8 fd00::/7 127.0.0.1\nsid\n\n\n127.0.0.1\nX-Forwarded-For: 198.51.100.7, 10.1.2.3\n"
          "X-Forwarded-For: [2001:db8::1]:443, 10.0.0.9:1234\nHost: app.example\nOrigin: https://app.example\n"
          "Cookie: a=b; sid=\"secret\"; sid=2\n",
      std::string(1, '\1') +
          "::1 ::ffff:10.0.0.0/104\ntoken\n\n\n::1\nx-forwarded-for: ::ffff:198.51.100.7\nHost: [::1]:8080\n"
          "Origin: http://[::1]:3000\nCookie: token=x\n",
      std::string(1, '\1') +
          "\n\napp.example *\nhttps://app.example *.example null\n192.0.2.1\nHost: 127.0.0.1:80\nOrigin: null\n",
      std::string(1, '\0') +
          "10.0.0.0/33 x 1.2.3.4/ /8\nsid\n*\n*\nfe80::1%1\nX-Forwarded-For: fe80::1%lo, unknown, _hidden\n",
      std::string(1, '\0') +
          "0.0.0.0/0 ::/0\nsid\nlocalhost:80\nhttp://localhost/\n198.51.100.1\nX-Forwarded-For: 1.2.3.4,,5.6.7.8\n"
          "Host: LOCALHOST:80\nOrigin: http://localhost:81\nCookie: sid=;sid= y \n",
  };
}

}  // namespace muster::fuzz
