// What a peer may still send once its connection ends, and that bytes are told as they come in.
#include <atomic>

#include "websocketpp/certificate.hpp"
#include "websocketpp/deflating.hpp"
#include "websocketpp/fixture.hpp"

using namespace muster;
using namespace std::chrono_literals;
using test::Fixture;
using test::masked_frame;
using test::RawClient;

namespace {

/// Whether each bit is set: TLS, deflate.
struct Edge {
  bool tls;
  bool deflate;
};

/// A close of the core's is only over with the peer's, or at the test's end.
Options patient() {
  Options options;
  options.max_message_bytes = 1000;
  options.close_timeout = 1h;
  return options;
}

muster::websocketpp::ListenerOptions listener(const Edge& edge, const test::Certificate& certificate) {
  muster::websocketpp::ListenerOptions options;
  options.deflate = edge.deflate;
  if (edge.tls) {
    options.tls_certificate_file = certificate.certificate_file;
    options.tls_key_file = certificate.key_file;
  }
  return options;
}

}  // namespace

TEST_CASE("after a close of ours what a peer sends is thrown away unread, until its own", "[websocketpp][edge]") {
  const test::Certificate certificate;
  const auto edge = GENERATE(Edge{false, false}, Edge{true, false}, Edge{false, true}, Edge{true, true});
  const std::string upload = masked_frame(0x82, std::string(900, 'x'));
  const std::string too_big = masked_frame(0x82, std::string(5000, 'x'));
  const std::string strange = masked_frame(0x83, "what is this");
  for (const std::size_t begun : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{500}, upload.size()}) {
    INFO("tls " << edge.tls << ", deflate " << edge.deflate << ", " << begun << " bytes had come in");
    Fixture f(patient(), listener(edge, certificate));
    RawClient& client = f.open(edge.deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "", edge.tls);
    client.send(upload.substr(0, begun));
    f.settle();
    const std::size_t heard = f.manager->messages();
    f.seen()->transport->close(1001, "because");
    // In the same packet, in many, and after a pause: too big, not known, not UTF-8, and what follows.
    client.send(upload.substr(begun) + too_big + strange + masked_frame(0x81, "\xff"));
    f.settle();
    for (int i = 0; i < 20; ++i) {
      client.send(too_big.substr(0, too_big.size() / 2));
      f.settle();
      client.send(too_big.substr(too_big.size() / 2) + strange);
    }
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->code() == 1001);
    CHECK_FALSE(client.ended());
    CHECK(f.manager->messages() == heard);
    CHECK(f.manager->failures().empty());
    client.send(test::close_frame(1001));
    CHECK(f.until([&] { return client.ended(); }));
    CHECK_FALSE(client.was_reset());
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  }
}

TEST_CASE("behind a length that no frame can have a peer's close is not found, and the timeout ends it",
          "[websocketpp][edge]") {
  Options options = patient();
  options.close_timeout = 100ms;
  Fixture f(options);
  RawClient& client = f.open();
  f.manager->on_received = [&](Connection&, FrameKind, std::string_view) {
    f.seen()->transport->close(1001, "because");
  };
  client.send(test::text_frame("go") + std::string("\x82\xff\x80\0\0\0\0\0\0\0\1\2\3\4", 14) + test::close_frame(1000));
  CHECK(f.until([&] { return f.manager->closings().size() == 1; }));
  CHECK(f.manager->messages() == 1);
  CHECK(f.manager->failures().empty());
  CHECK(f.manager->reserved() == 0);
}

TEST_CASE("an upload that still arrives when the server drains harms nobody", "[websocketpp][edge]") {
  const std::size_t loops = GENERATE(std::size_t{1}, std::size_t{3});
  Options core = patient();
  core.max_message_bytes = 64 * 1024;
  Fixture f(core);
  muster::websocketpp::ServerOptions options;
  options.threads = loops;
  muster::websocketpp::Server server(f.manager, options);
  server.start();
  std::vector<std::unique_ptr<RawClient>> clients;
  const std::string upload = masked_frame(0x82, std::string(60'000, 'x'));
  const std::string too_big = masked_frame(0x82, std::string(70'000, 'x'));
  for (int i = 0; i < 12; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
    clients.back()->send(RawClient::upgrade_request());
    REQUIRE(f.until([&] { return clients.back()->pump(), clients.back()->take_head().has_value(); }));
  }
  for (const auto& client : clients) client->send(upload.substr(0, 300));
  std::atomic<std::size_t> closing{0};
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const auto seen = f.seen(i);
    (void)seen->executor->post([seen, &closing] {
      if (seen->transport) seen->transport->close(1001, "going");
      ++closing;
    });
  }
  REQUIRE(f.until([&] { return closing == clients.size(); }));  // else what is too big would be the cause
  for (const auto& client : clients) {
    client->send(upload.substr(300));
    for (int i = 0; i < 5; ++i) client->send(too_big);
  }
  for (const auto& client : clients) {
    CHECK(f.until([&] {
      client->pump();
      const auto frame = client->take_frame();
      return frame && frame->code() == 1001;
    }));
    client->send(test::close_frame(1001));
    CHECK(f.until([&] { return client->pump(), client->ended(); }));
  }
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  server.stop();
}

TEST_CASE("bytes are told as they come in, once", "[websocketpp][edge]") {
  const bool deflate = GENERATE(false, true);
  muster::websocketpp::ListenerOptions settings;
  settings.deflate = deflate;
  Fixture f({}, settings);
  RawClient& client = f.open(deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
  std::size_t sent = 0;
  const auto told_after = [&](const std::string& bytes) {
    sent += bytes.size();
    client.send(bytes);
    return f.until([&] { return f.seen()->arrived == sent; });
  };
  const std::string message = masked_frame(0x82, std::string(50'000, 'x'));
  CHECK(told_after(message.substr(0, 1)));
  CHECK(told_after(message.substr(1, 30'000)));
  CHECK(f.manager->messages() == 0);
  CHECK(told_after(message.substr(30'001)));
  CHECK(f.manager->messages() == 1);
  CHECK(told_after(masked_frame(0x01, "one ") + masked_frame(0x89, "ping") + masked_frame(0x00, "two ").substr(0, 3)));
  CHECK(told_after(masked_frame(0x00, "two ").substr(3) + masked_frame(0x8a, {}) + masked_frame(0x80, "three")));
  if (deflate) CHECK(told_after(masked_frame(0xc1, test::deflated(std::string(60'000, 'a')))));
  f.settle();
  CHECK(f.seen()->arrived == sent);
}
