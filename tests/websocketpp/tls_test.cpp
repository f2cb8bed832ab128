// TLS: the same, encrypted; and what can only go wrong there.
#include "websocketpp/tls_fixture.hpp"

using namespace muster;
using test::Fixture;
using test::message;
using test::RawClient;
using test::resumes;
using test::TlsClient;
using test::with;

TEST_CASE("messages go both ways over TLS", "[websocketpp][tls]") {
  const test::Certificate certificate;
  Options options;
  options.max_message_bytes = 1'000'000;
  Fixture f(options, with(certificate));
  f.manager->echo = true;
  RawClient& client = f.open({}, true);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{5}, std::size_t{16'384}, std::size_t{65'536}, std::size_t{900'000}}) {
    const std::string payload(size, 'x');
    client.send(test::text_frame(payload));
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->payload == payload);
  }
  client.send(test::close_frame(1000));
  CHECK(f.frame(client)->code() == 1000);
  CHECK(f.until([&] { return client.ended(); }));
  CHECK(f.until([&] { return f.manager->closings() == std::vector<CloseReason>{CloseReason::normal}; }));
}

TEST_CASE("a burst beyond one read is parsed to its end over TLS", "[websocketpp][tls]") {
  const test::Certificate certificate;
  Fixture f({}, with(certificate));
  RawClient& client = f.open({}, true);
  std::string all;
  for (int i = 0; i < 30'000; ++i) all += test::text_frame(std::to_string(i));
  client.send(all);
  CHECK(f.until([&] { return f.manager->messages() == 30'000; }));
  CHECK(f.manager->message(29'999) == "29999");
}

TEST_CASE("frames right behind the request are not left inside the TLS layer", "[websocketpp][tls]") {
  const test::Certificate certificate;
  Fixture f({}, with(certificate));
  RawClient& client = f.connect(true);
  client.send(RawClient::upgrade_request() + test::text_frame("early") + test::binary_frame(std::string(14'000, 'x')));
  CHECK(f.status(client) == 101);
  CHECK(f.until([&] { return f.manager->messages() == 2; }));
}

TEST_CASE("frames behind a request that is just as long as it may be are not left there either", "[websocketpp][tls]") {
  const test::Certificate certificate;
  Options options;
  options.handshake_bytes = RawClient::upgrade_request().size();
  Fixture f(options, with(certificate));
  RawClient& client = f.connect(true);
  client.send(RawClient::upgrade_request() + test::text_frame("early"));
  CHECK(f.status(client) == 101);
  CHECK(f.until([&] { return f.manager->messages() == 1; }));
}

TEST_CASE("a slow reader over TLS gets every byte in order", "[websocketpp][tls]") {
  const test::Certificate certificate;
  Fixture f({}, with(certificate));
  RawClient& client = f.open({}, true, 4096);
  client.stall(true);
  std::string expected;
  int batches = 0;
  for (WriteResult result = WriteResult::done; result == WriteResult::done;) {
    std::string batch;
    WebSocketFormat{}.append(FrameKind::binary, std::string(60'001, static_cast<char>('a' + batches++ % 26)), batch);
    expected += batch;
    result = f.manager->write(0, std::move(batch), 7);
    REQUIRE(batches < 1000);
  }
  f.settle();
  client.stall(false);
  CHECK(f.until([&] { return client.in.size() == expected.size(); }));
  CHECK(client.in == expected);
  CHECK(f.until([&] { return f.seen()->writables == 1; }));
}

TEST_CASE("what is written together is one TLS record, up to 16 KiB", "[websocketpp][tls]") {
  const test::Certificate certificate;
  Fixture f({}, with(certificate));
  TlsClient tls(TLS1_2_VERSION);
  REQUIRE_FALSE(resumes(f, tls));
  RawClient& client = *f.clients.back();
  std::vector<std::size_t> records;
  SSL_set_msg_callback_arg(client.tls(), &records);
  SSL_set_msg_callback(client.tls(), [](int, int, int type, const void* bytes, std::size_t, SSL*, void* seen) {
    const auto* const header = static_cast<const unsigned char*>(bytes);
    if (type != SSL3_RT_HEADER || header[0] != SSL3_RT_APPLICATION_DATA) return;
    constexpr std::size_t overhead = 8 + 16;  // of AES-GCM, RFC 5288, 3
    static_cast<std::vector<std::size_t>*>(seen)->push_back((std::size_t{header[3]} << 8U | header[4]) - overhead);
  });
  const auto written = [&](std::size_t size, std::size_t pieces) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>('a' + i % 26));
    records.clear();
    client.in.clear();
    REQUIRE(f.manager->write(0, bytes, pieces) == WriteResult::done);
    REQUIRE(f.until([&] { return client.in.size() == size; }));
    CHECK(client.in == bytes);
    return records;
  };
  using Sizes = std::vector<std::size_t>;
  CHECK(written(100, 1) == Sizes{100});
  CHECK(written(100, 10) == Sizes{100});
  CHECK(written(16'384, 7) == Sizes{16'384});
  CHECK(written(16'385, 1) == Sizes{16'384, 1});
  CHECK(written(40'000, 2) == Sizes{16'384, 16'384, 7'232});
  SSL_set_msg_callback(client.tls(), nullptr);
}

TEST_CASE("the HTTP hook answers over TLS", "[websocketpp][tls]") {
  const test::Certificate certificate;
  auto options = with(certificate);
  options.http = [](const muster::websocketpp::HttpRequest&) {
    muster::websocketpp::HttpResponse response;
    response.body.assign(3'000'000, 'x');
    return response;
  };
  Fixture f({}, options);
  RawClient& client = f.connect(true);
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK(f.status(client) == 200);
  CHECK(f.until([&] { return client.ended(); }));
  CHECK(client.in.size() == 3'000'000);
}

TEST_CASE("who does not speak TLS is let go, at the deadline at the latest", "[websocketpp][tls]") {
  const test::Certificate certificate;
  Options options;
  options.handshake_timeout = std::chrono::milliseconds(100);
  Fixture f(options, with(certificate));
  RawClient& plain = f.connect();
  plain.send(RawClient::upgrade_request());
  RawClient& silent = f.connect();
  RawClient& half = f.connect();
  half.send(std::string("\x16\x03\x01\x02\x00\x01", 6));
  CHECK(f.until([&] { return plain.ended() && silent.ended() && half.ended(); }));
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  CHECK(f.manager->count() == 0);
}

TEST_CASE("a TLS peer that goes away at any moment leaves nothing behind", "[websocketpp][tls]") {
  const test::Certificate certificate;
  const std::size_t before = test::open_descriptors();
  {
    Fixture f({}, with(certificate));
    for (int turns = 0; turns < 25; ++turns) {
      RawClient& client = f.connect(true);
      client.send(RawClient::upgrade_request() + test::text_frame("hello"));
      for (int i = 0; i < turns; ++i) {
        client.pump();
        f.io.poll_one();
        f.io.restart();
      }
      turns % 2 == 0 ? client.cut() : client.reset();
    }
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("a certificate or key that cannot be used is named", "[websocketpp][tls]") {
  const test::Certificate certificate;
  const test::Certificate other;
  auto options = with(certificate);
  options.tls_certificate_file = "/nowhere.pem";
  CHECK(message(options).find("/nowhere.pem") != std::string::npos);
  options = with(certificate);
  options.tls_key_file = "/nowhere.key";
  CHECK(message(options).find("/nowhere.key") != std::string::npos);
  options = with(certificate);
  options.tls_key_file = other.key_file;
  CHECK(message(options).find(other.key_file) != std::string::npos);
  CHECK(message(options).find("does not belong to certificate " + certificate.certificate_file) != std::string::npos);
  options = with(certificate);
  options.tls_key_file.clear();
  CHECK(message(options).find("tls_key_file") != std::string::npos);
}

TEST_CASE("a missing file, and a key with a passphrase, are told from one that is damaged", "[websocketpp][tls]") {
  const test::Certificate certificate;
  auto options = with(certificate);
  options.tls_certificate_file = "/nowhere.pem";
  CHECK(message(options) == "TLS certificate /nowhere.pem cannot be read: No such file or directory");
  options = with(certificate);
  options.tls_key_file = certificate.encrypted_key_file();
  CHECK(message(options).find(options.tls_key_file + " is encrypted") != std::string::npos);
  CHECK(message(options).find("openssl pkey") != std::string::npos);
}

TEST_CASE("a certificate is read again, and stays when the new one is bad", "[websocketpp][tls]") {
  const test::Certificate certificate(7);
  const test::Certificate renewed(8);
  Fixture f({}, with(certificate));
  RawClient& before = f.open({}, true);
  CHECK(before.serial() == 7);

  certificate.become(renewed);
  CHECK_FALSE(f.listener->reload_certificate());
  CHECK(f.open({}, true).serial() == 8);
  before.send(test::text_frame("still here"));
  CHECK(f.until([&] { return f.manager->messages() == 1; }));

  std::filesystem::remove(certificate.key_file);
  const auto error = f.listener->reload_certificate();
  REQUIRE(error);
  CHECK(error->message.find("TLS key " + certificate.key_file) == 0);
  CHECK(f.open({}, true).serial() == 8);

  Fixture plain;
  plain.listen();
  REQUIRE(plain.listener->reload_certificate());
  CHECK(plain.listener->reload_certificate()->code == errc::not_supported);
}
