// The head of a request, from its bytes to what the core would be asked, under every option that changes how it is read;
// and its body, from whatever framing.

#include "fuzz/fuzz.hpp"
#include "muster/transports/websocketpp/body.ipp"
#include "muster/transports/websocketpp/extensions.ipp"
#include "muster/transports/websocketpp/handshake.ipp"
#include "support/json_check.hpp"

namespace muster::fuzz {
namespace {

using namespace muster::websocketpp::detail;
using muster::websocketpp::HttpRequest;
using muster::websocketpp::HttpResponse;

constexpr std::size_t head_bytes = 8 * 1024;  // Options::handshake_bytes

bool is_clean(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f; });
}

bool begins(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

Options options_of(unsigned choice) {
  Options options;
  if ((choice & 1U) != 0) options.auth_cookie = "sid";
  options.auth_query = (choice & 2U) != 0;
  if ((choice & 4U) != 0) options.allowed_hosts = {"app.example", "[::1]:8080", "other.example:80"};
  if ((choice & 8U) != 0) options.allowed_origins = {"https://app.example", "app.example:8443", "http://[::1]/"};
  if ((choice & 16U) != 0) options.allowed_origins.emplace_back("*");
  return options;
}

/// An answer is one message whatever is in it: no value of a header ends the head early, and the body's length is told.
void check_answer(const HttpResponse& response, bool without_body) {
  const std::string bytes = format_response(response, without_body, true, response.status % 2 == 0);
  const std::size_t end = bytes.find("\r\n\r\n");
  must(begins(bytes, "HTTP/1.1 ") && end != std::string::npos, "an answer has a head");
  const std::string_view head(bytes.data(), end);
  must(head.find('\0') == std::string_view::npos, "there is no NUL in a head");
  std::size_t lines = 0;
  for (std::size_t at = head.find('\n'); at != std::string_view::npos; at = head.find('\n', at + 1)) {
    must(at != 0 && head[at - 1] == '\r', "lines end with CRLF");
    ++lines;
  }
  must(lines <= response.headers.size() + 4, "nothing in a header makes another line");
  must(bytes.size() - end - 4 ==
           (without_body || response.status == 204 || response.status == 304 ? 0 : response.body.size()),
       "the body is what was given");
}

void check_refusal(const Refusal& refusal) {
  const HttpResponse response = describe_refusal(refusal);
  must(refusal.status >= 400 && refusal.status < 600, "a refusal is an error");
  must(test::is_json_object(response.body), "a refusal's body is JSON");
  check_answer(response, false);
}

/// What was read is what a second reader of the same head, written plainly, would read.
void check_head(const HttpRequest& request, bool http_1_1) {
  must(is_token(request.method), "a method");
  must(request.path == "*" ? request.method == "OPTIONS" : begins(request.path, "/"), "a path");
  must(count_headers(request, "Content-Length") <= 1, "one length of the body");
  must(is_clean(request.path) && is_clean(request.query), "no control characters in the target");
  must(request.path.find_first_of(" ?#") == std::string::npos, "a path ends where it ends");
  std::string again = request.method + " " + request.path + (request.query.empty() ? "" : "?" + request.query);
  again += http_1_1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n";
  for (const auto& [name, value] : request.headers) {
    must(is_token(name) && is_clean(value), "a header's name is a token, and its value a line");
    must(trim(value) == value, "values are trimmed");
    again += name + ": " + value + "\r\n";
  }
  again += "\r\n";
  HttpRequest second;
  bool second_http_1_1 = false;
  must(!parse_head(again, second, second_http_1_1), "what was read can be read again");
  must(second.method == request.method && second.path == request.path && second.query == request.query &&
           second.headers == request.headers && second_http_1_1 == http_1_1,
       "and says the same");
}

void check_upgrade_of(const HttpRequest& request, const Options& options) {
  must(request.method == "GET" && request.header("sec-websocket-version") == "13" &&
           request.header("sec-websocket-key").size() == 24,
       "an upgrade is one");
  OpenRequest open;
  if (const auto refusal = read_upgrade(request, options, open)) return check_refusal(*refusal);
  must(open.path == request.path && open.origin == request.header("Origin"), "path and origin are the request's");
  must(open.token.empty() == (open.token_source == TokenSource::none), "a token has a source");
  must(open.token_source != TokenSource::cookie || (!options.auth_cookie.empty() && !open.origin.empty()),
       "a cookie is taken where it is asked for, and with an Origin");
  must(open.token_source != TokenSource::query || options.auth_query,
       "a token of the query is taken where it is asked for");
  must(!begins(open.query, "token=") && open.query.find("&token=") == std::string::npos,
       "the token is not left in the query");
  for (const std::string& name : open.subprotocols) must(is_token(name), "a subprotocol is a token");
}

void check_deflate(const HttpRequest& request, int client_window_bits) {
  const auto deflate = negotiate_deflate(request, client_window_bits);
  if (deflate.answer.empty()) return;
  const int kept = deflate.client_window_bits;
  must(deflate.window_bits >= 9 && deflate.window_bits <= 15, "zlib has that window");
  must(kept == 0 || (kept >= 9 && kept <= client_window_bits), "no more of a client's context is kept than is borne");
  const std::string least = "permessage-deflate; server_no_context_takeover";
  const std::string none = "; client_no_context_takeover";
  const std::string window = "; client_max_window_bits=" + std::to_string(kept);
  const std::string more = "; server_max_window_bits=" + std::to_string(deflate.window_bits);
  std::string answer = deflate.answer;
  if (answer.size() > more.size() && answer.substr(answer.size() - more.size()) == more)
    answer.resize(answer.size() - more.size());
  must(answer == least + none ? kept == 0 : kept != 0 && (answer == least || answer == least + window),
       "no context of ours is taken over, the client's as agreed, and nothing else is said");
}

// ---- Bodies.

constexpr std::size_t body_bytes = 1024;  // ListenerOptions::http_body_bytes
constexpr std::size_t aside_bytes = 256;

/// What a second reader, written plainly, makes of chunks that are all there (RFC 9112, 7.1): the body, and where it ends.
struct Chunks {
  bool good = false;
  std::string body;
  std::size_t end = 0;
};
Chunks chunks_of(const std::string& in) {
  Chunks read;
  std::size_t at = 0;
  const auto next_line = [&](std::string& line) {
    const std::size_t end = in.find("\r\n", at);
    if (end == std::string::npos) return false;
    line = in.substr(at, end - at);
    at = end + 2;
    return is_clean(line);
  };
  for (std::string line; next_line(line);) {
    const std::size_t digits = std::min(line.find_first_not_of("0123456789abcdefABCDEF"), line.size());
    const std::string_view more = trim(std::string_view(line).substr(digits));
    if (digits == 0 || digits > 16 || (digits != line.size() && !begins(more, ";"))) return read;
    const std::size_t size = std::stoull(line.substr(0, digits), nullptr, 16);
    if (size == 0) {
      while (next_line(line)) {
        if (line.empty()) {
          read.good = true;
          read.end = at;
          return read;
        }
        const std::size_t colon = line.find(':');
        if (colon == std::string::npos || !is_token(std::string_view(line).substr(0, colon))) return read;
      }
      return read;
    }
    if (size > in.size() - at || in.compare(at + size, 2, "\r\n") != 0) return read;
    read.body.append(in, at, size);
    at += size + 2;
  }
  return read;
}

struct Fed {
  BodyReader::State state;
  std::string body;
  std::size_t used;
};
Fed feed(const Framing& framing, std::string_view bytes, std::size_t piece) {
  BodyReader reader(framing, body_bytes, aside_bytes);
  std::size_t used = 0;
  const std::size_t before = held_bytes();
  while (reader.state() == BodyReader::State::reading && used < bytes.size()) {
    const Alone alone(bytes.substr(used, std::min(piece, reader.wanted(bytes.size()))));
    std::string_view left = alone.view();
    reader.read(left);
    must(left.empty() || reader.state() != BodyReader::State::reading, "a body takes what it is given until it ends");
    used += alone.view().size() - left.size();
  }
  at_most(held_bytes(), before + 2 * body_bytes + 2 * aside_bytes + 512, "a body is held for as far as it may go");
  return {reader.state(), reader.take(), used};
}

void check_body(const HttpRequest& request, const std::string& bytes) {
  Framing framing;
  if (const auto refusal = read_framing(request, framing)) return check_refusal(*refusal);
  must(!framing.chunked || count_headers(request, "Content-Length") == 0, "a body has one end");
  const Fed whole = feed(framing, bytes, bytes.size() + 1);
  for (const std::size_t piece : {1U, 2U, 7U}) {
    const Fed again = feed(framing, bytes, piece);
    must(again.state == whole.state && again.body == whole.body, "a body is what it is however it comes");
    must(again.state != BodyReader::State::done || again.used == whole.used, "and ends where it ends");
  }
  at_most(whole.body.size(), body_bytes, "a body is bounded");
  const bool done = whole.state == BodyReader::State::done;
  if (!framing.chunked) {
    must(framing.bytes <= body_bytes || whole.state == BodyReader::State::refused, "a length too large is refused");
    must(!done || whole.body == bytes.substr(0, static_cast<std::size_t>(framing.bytes)),
         "a body is as long as was said");
    return;
  }
  const Chunks plain = chunks_of(bytes);
  must(!done || (plain.good && plain.body == whole.body && plain.end == whole.used), "both readers see one body");
  must(done || !plain.good || plain.body.size() > body_bytes || plain.end > plain.body.size() + aside_bytes,
       "and what is in order is taken");
}

}  // namespace

void run(std::string_view input) {
  Choices choices(input);
  const unsigned choice = choices.byte();
  const Options options = options_of(choice);
  const bool loopback = (choice & 32U) != 0;
  // As a socket cuts it: to the first empty line behind the empty lines before it.
  std::string head(choices.bytes(head_bytes));
  const std::size_t start = head.find_first_not_of("\r\n");
  if (start == std::string::npos) return;
  const std::size_t end = head.find("\r\n\r\n", start);
  const std::string behind = end != std::string::npos ? head.substr(end + 4) : std::string();
  head = end != std::string::npos ? head.substr(0, end + 4) : head + "\r\n\r\n";

  const std::size_t before = held_bytes();
  const Alone alone(head);
  HttpRequest request;
  bool http_1_1 = false;
  const auto refusal = parse_head(alone.view(), request, http_1_1);
  at_most(held_bytes(), before + 64 * head.size() + 4096, "a head costs memory in proportion to its bytes");
  if (refusal) return check_refusal(*refusal);
  check_head(request, http_1_1);
  check_body(request, behind);

  if (const auto wrong_host = check_host(request, http_1_1, options, loopback)) return check_refusal(*wrong_host);
  if (loopback && options.allowed_hosts.empty() && count_headers(request, "Host") != 0) {
    const std::string_view host = host_of(request.header("Host"));
    must(equal_ignoring_case(host, "localhost") || host == "[::1]" || begins(host, "127."),
         "no page of elsewhere gets in");
  }
  if (!asks_for_upgrade(request)) {
    HttpResponse response;
    response.headers = request.headers;
    response.headers.emplace_back("X-Raw", std::string(input));
    response.body = request.path;
    return check_answer(response, request.method == "HEAD");
  }
  if (const auto no_upgrade = check_upgrade(request, http_1_1)) return check_refusal(*no_upgrade);
  for (const int bits : {0, 10, 15}) check_deflate(request, bits);
  if (const auto wrong_origin = check_origin(request, options)) return check_refusal(*wrong_origin);
  check_upgrade_of(request, options);
}

std::vector<std::string> seeds() {
  const std::string upgrade =
      "Host: localhost:8080\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const auto seed = [](char choice, const std::string& head) { return choice + head + "\r\n"; };
  return {
      seed(0, "GET /ws HTTP/1.1\r\n" + upgrade),
      seed(0x20, "GET /ws HTTP/1.1\r\n" + upgrade + "Origin: http://localhost:3000\r\n"),
      seed(0x03, "GET /ws?a=1&token=s%65cret&b HTTP/1.1\r\n" + upgrade +
                     "Origin: http://localhost\r\nCookie: a=b; sid=\"secret\"\r\n"),
      seed(0x02, "GET /ws?token=secret HTTP/1.1\r\n" + upgrade),
      seed(0, "GET /ws HTTP/1.1\r\n" + upgrade + "Authorization: Bearer secret\r\n"),
      seed(0, "GET /ws HTTP/1.1\r\n" + upgrade + "Sec-WebSocket-Protocol: muster.v1.json, bearer, secret\r\n"),
      seed(0, "GET /ws HTTP/1.1\r\n" + upgrade +
                  "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10; client_max_window_bits, "
                  "permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"),
      seed(0x0c, "GET /ws HTTP/1.1\r\nHost: app.example\r\n" + upgrade.substr(upgrade.find("Upgrade")) +
                     "Origin: https://app.example:8443\r\n"),
      seed(0x10, "GET http://localhost:8080/ws?x HTTP/1.1\r\n" + upgrade + "Origin: null\r\n"),
      seed(0x20, "GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"),
      seed(0, "\r\n\r\nHEAD / HTTP/1.1\r\nHost: [::1]:80\r\nX-Tab:\ta\tb \r\n"),
      seed(0, "GET /ws HTTP/1.1\r\n" + upgrade + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
      seed(0, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello!"),
      seed(0, "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0"),
      seed(0,
           "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
           "5\r\nhello\r\n06 ;a=\"b\"\r\n world\r\n0;c\r\nA: b\r\n\r\nGET /"),
      seed(0, "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3ff\r\n" +
                  std::string(1023, 'x') + "\r\n1\r\ny\r\n0\r\n"),
  };
}

}  // namespace muster::fuzz
