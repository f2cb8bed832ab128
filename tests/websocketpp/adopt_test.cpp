// adopt: sockets that the program has accepted, and of which it has read what it has read.
#include <fcntl.h>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <thread>

#include "contract/transport_contract.hpp"
#include "muster/auth/allow_all.hpp"
#include "muster/auth/allow_anonymous.hpp"
#include "muster/connection_manager.hpp"
#include "muster/muster.hpp"
#include "support/echo_protocol.hpp"
#include "support/wait_for.hpp"
#include "websocketpp/fixture.hpp"
#include "websocketpp/front.hpp"
#include "websocketpp/socket_fixture.hpp"

using namespace muster;
using muster::websocketpp::AcceptedSocket;
using test::Front;
using test::RawClient;
using test::RecordingManager;
using test::wait_for;
using Tcp = asio::ip::tcp;

namespace {

muster::websocketpp::ListenerOptions portless(muster::websocketpp::ListenerOptions options = {}) {
  options.listen = false;
  return options;
}

/// A listener without a port, and in front of it a program that has one, on the same loop.
struct Fixture : test::Fixture {
  explicit Fixture(Options core = {}, muster::websocketpp::ListenerOptions options = {},
                   const test::Certificate* certificate = nullptr)
      : test::Fixture(std::move(core), portless(std::move(options))),
        front(io, certificate, [this](AcceptedSocket socket, std::string received) {
          listener->adopt(std::move(socket), std::move(received));
        }) {
    listen();
  }
  [[nodiscard]] std::uint16_t port() const override { return front.port(); }

  Front front;
};

/// What it says of such a call; empty: it was taken.
template <class Call>
std::string thrown(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("an adopted upgrade is served as one that came to the port", "[websocketpp][adopt]") {
  const std::size_t before = test::open_descriptors();
  {
    Fixture f;
    CHECK(f.listener->port() == 0);
    f.manager->echo = true;
    RawClient& client = f.open("Sec-WebSocket-Protocol: one, two\r\nAuthorization: Bearer secret\r\n");
    CHECK(f.manager->reserved() == 1);
    CHECK(f.request().remote_address.text == "127.0.0.1");
    CHECK(f.request().path == "/ws");
    CHECK(f.request().token == "secret");
    CHECK(f.request().subprotocols == std::vector<std::string>{"one", "two"});
    client.send(test::text_frame("hello"));
    const auto frame = f.frame(client);
    REQUIRE(frame);
    CHECK(frame->payload == "hello");
    client.send(test::close_frame(1000));
    CHECK(f.frame(client)->code() == 1000);
    CHECK(f.until([&] { return client.ended(); }));
    CHECK(f.until([&] { return f.manager->closings() == std::vector<CloseReason>{CloseReason::normal}; }));
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
    CHECK(f.manager->faults().empty());
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("however much of it the program has read, nothing of a request and of what follows is lost",
          "[websocketpp][adopt]") {
  const test::Certificate certificate;
  const bool tls = GENERATE(false, true);
  const std::string request = RawClient::upgrade_request();
  const std::string large(100'000, 'x');
  Options options;
  options.max_message_bytes = 1'000'000;
  for (const std::size_t at_least : {std::size_t{0}, std::size_t{1}, request.size() - 2, request.size() - 1,
                                     request.size(), request.size() + 1, Front::whole_head}) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{50}, std::size_t{200'000}}) {
      INFO(at_least << " bytes, " << piece << " at a time" << (tls ? ", over TLS" : ""));
      Fixture f(options, {}, tls ? &certificate : nullptr);
      f.front.at_least = at_least;
      f.front.piece = piece;
      RawClient& client = f.connect(tls);
      client.send(request + test::text_frame("early") + test::binary_frame(large));
      REQUIRE(f.status(client) == 101);
      REQUIRE(f.until([&] { return f.manager->messages() == 2; }));
      CHECK(f.manager->message(0) == "early");
      CHECK(f.manager->message(1) == large);
      client.send(test::text_frame("later"));
      CHECK(f.until([&] { return f.manager->messages() == 3; }));
    }
  }
}

TEST_CASE("who is refused on a port is refused when adopted, told why, and closed", "[websocketpp][adopt]") {
  struct Case {
    const char* what;
    std::string request;
    int status;
    std::optional<RefusedFor> reason = std::nullopt;
  };
  const std::string whole = RawClient::upgrade_request();
  const std::string endless = "GET /ws HTTP/1.1\r\nX: " + std::string(9000, 'x');
  const Case cases[] = {
      {"of another site's page", RawClient::upgrade_request("Origin: https://evil.example\r\n"), 403,
       RefusedFor::origin},
      {"for a name that is not this machine's", RawClient::upgrade_request("Host: evil.example\r\n", "/ws", "Host"),
       403, RefusedFor::host},
      {"by the core", RawClient::upgrade_request({}, "/private"), 401},
      {"no upgrade", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, RefusedFor::request},
      {"no HTTP", "HELO mail.example\r\n\r\n", 400, RefusedFor::request},
      {"a bad key", RawClient::upgrade_request("Sec-WebSocket-Key: short\r\n", "/ws", "Sec-WebSocket-Key"), 400,
       RefusedFor::request},
      {"too long", endless + "\r\n\r\n", 431, RefusedFor::request},
  };
  for (const Case& c : cases) {
    for (const std::size_t at_least : {std::size_t{1}, Front::whole_head}) {
      INFO(c.what);
      const std::size_t before = test::open_descriptors();
      {
        Fixture f;
        f.front.at_least = at_least;
        f.manager->decide = [](const OpenRequest& open) {
          return open.path == "/ws" ? RecordingManager::accepted()
                                    : RecordingManager::refused(CloseReason::auth_required,
                                                                {errc::auth_required, "A token is needed", {}});
        };
        CHECK(f.ask(c.request) == c.status);
        RawClient& client = *f.clients.back();
        CHECK(f.until([&] { return client.ended(); }));
        CHECK_FALSE(client.was_reset());
        const auto told = f.manager->refusals();
        CHECK(told.size() == (c.reason ? 1 : 0));
        if (c.reason && !told.empty()) CHECK(told[0].reason == *c.reason);
        client.cut();
        CHECK(f.until([&] { return f.manager->reserved() == 0; }));
      }
      CHECK(test::open_descriptors() == before);
    }
  }
}

TEST_CASE("the rest of an adopted socket's options hold: the HTTP hook, allowed hosts, proxies",
          "[websocketpp][adopt]") {
  Options options;
  options.allowed_hosts = {"app.example"};
  options.trusted_proxies = {"127.0.0.1"};
  muster::websocketpp::ListenerOptions listener;
  listener.http = [](const muster::websocketpp::HttpRequest& request) {
    muster::websocketpp::HttpResponse response;
    response.body = request.path;
    return response;
  };
  Fixture f(options, listener);
  CHECK(f.ask("GET /page HTTP/1.1\r\nHost: app.example\r\n\r\n") == 200);
  CHECK(f.ask(RawClient::upgrade_request("Host: app.example\r\nX-Forwarded-For: 192.0.2.7\r\n", "/ws", "Host")) == 101);
  CHECK(f.request().remote_address.text == "192.0.2.7");
  CHECK(f.manager->asked_for() == std::vector<std::string>{"", "", "192.0.2.7"});
}

TEST_CASE("without a place an adopted peer is told so, and few of them at a time", "[websocketpp][adopt]") {
  muster::websocketpp::ListenerOptions options;
  options.extra_sockets = 1;
  Fixture f({}, options);
  f.front.at_least = 0;
  f.manager->places = 1;
  (void)f.open();
  CHECK(f.ask(RawClient::upgrade_request()) == 503);
  CHECK(f.header("Retry-After") == "7");
  RawClient& waiting = f.connect();
  RawClient& beyond = f.connect();
  CHECK(f.until([&] { return beyond.ended() || waiting.ended(); }));
  CHECK((beyond.ended() ? 1 : 0) + (waiting.ended() ? 1 : 0) == 1);
  CHECK(f.manager->refusals().back().what.find("extra_sockets") != std::string::npos);
}

TEST_CASE("an adopted socket has handshake_timeout from then on", "[websocketpp][adopt]") {
  Options options;
  options.handshake_timeout = std::chrono::milliseconds(50);
  Fixture f(options);
  f.front.at_least = 10;
  RawClient& half = f.connect();
  half.send("GET /ws HTTP/1.1\r\n");
  CHECK(f.until([&] { return half.ended(); }));
  CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  CHECK(f.manager->count() == 0);
}

TEST_CASE("an adopted socket is set up as those of the port are", "[websocketpp][adopt]") {
  test::Fixture f({}, portless());
  f.listen();
  Tcp::acceptor port(f.io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  RawClient client(port.local_endpoint().port());
  Tcp::socket socket = port.accept();
  const int descriptor = socket.native_handle();
  f.listener->adopt(std::move(socket), {});
  const auto option = [descriptor](int name) {
    int value = 0;
    socklen_t size = sizeof value;
    CHECK(::getsockopt(descriptor, IPPROTO_TCP, name, &value, &size) == 0);
    return value;
  };
  CHECK(option(TCP_NODELAY) == 1);
  CHECK(option(TCP_NOTSENT_LOWAT) == static_cast<int>(f.settings.unsent_low_water_bytes));
}

TEST_CASE("a peer that is gone when it is adopted is no error", "[websocketpp][adopt]") {
  const std::size_t before = test::open_descriptors();
  {
    Fixture f;
    Tcp::acceptor port(f.io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    for (const bool reset : {false, true}) {
      RawClient client(port.local_endpoint().port());
      client.send(RawClient::upgrade_request());
      Tcp::socket socket = port.accept();
      reset ? client.reset() : client.cut();
      socket.wait(Tcp::socket::wait_read);
      f.listener->adopt(std::move(socket), RawClient::upgrade_request());
      f.settle();
      CHECK(f.until([&] { return f.manager->reserved() == 0; }));
    }
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("what cannot be adopted is said in words, and closed", "[websocketpp][adopt]") {
  const std::size_t before = test::open_descriptors();
  {
    test::Fixture f({}, portless());
    f.listen();
    const auto adopting = [&](int descriptor) {
      return thrown([&] { f.listener->adopt(descriptor, RawClient::upgrade_request()); });
    };
    CHECK(adopting(-1) == "adopt: the socket is closed, or is none");
    CHECK(thrown([&] { f.listener->adopt(Tcp::socket(f.io), {}); }) == "adopt: the socket is closed, or is none");
    CHECK(adopting(::open("/dev/null", O_RDONLY | O_CLOEXEC)) == "adopt: the socket is closed, or is none");
    CHECK(adopting(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == "adopt: the socket is not one of TCP");
    CHECK(adopting(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) == "adopt: the socket is not one of TCP");

    const test::Certificate certificate;
    test::FrontTls shown(certificate);
    Tcp::acceptor port(f.io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    RawClient client(port.local_endpoint().port());
    CHECK(thrown([&] { f.listener->adopt(asio::ssl::stream<Tcp::socket>(port.accept(), shown.context), {}); }) ==
          "adopt: the handshake of this TLS is not made");
    // A write of the program's own that is not out yet.
    RawClient half(port.local_endpoint().port(), true);
    auto stream = std::make_unique<asio::ssl::stream<Tcp::socket>>(port.accept(), shown.context);
    std::thread secured([&] { stream->handshake(asio::ssl::stream_base::server); });
    CHECK(wait_for([&] {
      half.pump();
      return SSL_is_init_finished(stream->native_handle()) != 0;
    }));
    secured.join();
    REQUIRE(SSL_write(stream->native_handle(), "words", 5) == 5);
    CHECK(thrown([&] { f.listener->adopt(std::move(*stream), {}); }).find("adopt: this TLS has bytes to send") == 0);

    const auto refused = [&](muster::websocketpp::ListenerOptions options) {
      return thrown([&] { muster::websocketpp::Listener(f.io, f.manager, portless(std::move(options))); });
    };
    muster::websocketpp::ListenerOptions options;
    options.tls_certificate_file = options.tls_key_file = "some.pem";
    CHECK(refused(options).find("tls_key_file are the port's, and listen is off") != std::string::npos);
    options = {};
    options.proxy_protocol = true;
    CHECK(refused(options).find("proxy_protocol is the port's, and listen is off") != std::string::npos);
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("a listener with a port adopts as well, and goes on when the port is closed", "[websocketpp][adopt]") {
  test::Fixture f;
  f.listen();
  Front front(f.io, nullptr, [&](AcceptedSocket socket, std::string received) {
    f.listener->adopt(std::move(socket), std::move(received));
  });
  f.listener->stop();
  RawClient client(front.port());
  client.send(RawClient::upgrade_request());
  CHECK(f.until([&] {
    client.pump();
    return client.in.find(" 101 ") != std::string::npos;
  }));
}

TEST_CASE("a socket that is adopted for a loop that has ended is closed", "[websocketpp][adopt]") {
  const std::size_t before = test::open_descriptors();
  {
    asio::io_context io(1);
    Tcp::acceptor port(io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    const auto manager = std::make_shared<RecordingManager>();
    std::optional<asio::io_context> loop(std::in_place, 1);
    std::optional<muster::websocketpp::Listener> listener(std::in_place, *loop, manager, portless());
    RawClient on_its_way(port.local_endpoint().port());
    listener->adopt(port.accept(), RawClient::upgrade_request());  // ends with it
    CHECK(manager->reserved() == 1);
    SECTION("by its io_context") { loop.reset(); }
    SECTION("by its executor") { muster::websocketpp::AsioExecutor::of(*loop)->stop(); }
    RawClient after(port.local_endpoint().port());
    listener->adopt(port.accept(), RawClient::upgrade_request());
    for (RawClient* client : {&on_its_way, &after}) {
      CHECK(wait_for([&] {
        client->pump();
        return client->ended();
      }));
    }
    CHECK(manager->reserved() == 0);
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("the core's own limits hold for who is adopted, and after shutdown all are refused", "[websocketpp][adopt]") {
  struct Case {
    const char* what;
    std::function<void(Options&)> limit;
    int status;
    std::uint64_t Metrics::*counted;
  };
  const Case cases[] = {
      {"max_connections", [](Options& options) { options.max_connections = 1; }, 503, &Metrics::refused_capacity},
      {"max_connections_per_ip", [](Options& options) { options.max_connections_per_ip = 1; }, 429,
       &Metrics::refused_per_ip},
      {"shutdown", [](Options&) {}, 503, &Metrics::refused_going_away},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    Options options;
    c.limit(options);
    Components components;
    components.protocols = {std::make_shared<test::EchoProtocol>()};
    auto manager = make_connection_manager(options, std::make_shared<AllowAnonymous>(), std::make_shared<AllowAll>(),
                                           std::move(components));
    asio::io_context io(1);
    muster::websocketpp::Listener listener(io, manager, portless());
    Front front(io, nullptr, [&](AcceptedSocket socket, std::string received) {
      listener.adopt(std::move(socket), std::move(received));
    });
    const auto run_until = [&](const std::function<bool()>& done) {
      return wait_for([&] {
        io.poll();
        io.restart();
        return done();
      });
    };
    const auto status = [&](RawClient& client) {
      client.send(RawClient::upgrade_request());
      std::optional<std::string> head;
      CHECK(run_until([&] {
        client.pump();
        return (head = client.take_head()) || client.ended();
      }));
      return head ? std::stoi(head->substr(9, 3)) : 0;
    };
    RawClient first(front.port());
    CHECK(status(first) == 101);
    bool over = false;
    if (c.what == std::string("shutdown")) manager->shutdown([&] { over = true; });
    RawClient second(front.port());
    CHECK(status(second) == c.status);
    CHECK(manager->metrics().*c.counted == 1);
    if (c.what != std::string("shutdown")) manager->shutdown([&] { over = true; });
    first.cut();
    second.cut();
    CHECK(run_until([&] { return over; }));
  }
}

TEST_CASE("a server without a port adopts in any thread, and its loops share who comes", "[websocketpp][adopt]") {
  const test::Certificate certificate;
  const bool tls = GENERATE(false, true);
  const std::size_t before = test::open_descriptors();
  {
    const auto manager = std::make_shared<RecordingManager>();
    manager->echo = true;
    muster::websocketpp::ServerOptions options;
    options.listen = false;
    options.threads = 3;
    muster::websocketpp::Server server(manager, options);
    CHECK(server.port() == 0);
    asio::io_context io(1);
    Front front(io, tls ? &certificate : nullptr, [&](AcceptedSocket socket, std::string received) {
      server.adopt(std::move(socket), std::move(received));
    });
    auto work = asio::make_work_guard(io);
    std::thread program([&] { io.run(); });

    std::vector<std::unique_ptr<RawClient>> clients;
    const auto come = [&] {
      clients.push_back(std::make_unique<RawClient>(front.port(), tls));
      clients.back()->send(RawClient::upgrade_request() + test::text_frame("hello"));
    };
    const auto pump = [&](const std::function<bool()>& done) {
      return wait_for([&] {
        for (auto& client : clients) client->pump();
        return done();
      });
    };
    come();
    CHECK(pump([&] { return manager->reserved() == 1; }));  // it waits for the start
    CHECK(manager->count() == 0);
    server.start();
    while (clients.size() < 12) come();
    for (auto& client : clients) {
      CHECK(pump([&] { return client->take_head().has_value(); }));
      std::optional<RawClient::Frame> frame;
      CHECK(pump([&] { return (frame = client->take_frame()).has_value(); }));
      if (frame) CHECK(frame->payload == "hello");
    }
    std::map<Executor*, std::size_t> loops;
    for (std::size_t i = 0; i < manager->count(); ++i) ++loops[manager->executor(i).get()];
    CHECK(loops.size() == 3);
    for (const auto& [loop, connections] : loops) CHECK(connections == 4);

    // The program's loop goes, and with it what its sockets were on.
    work.reset();
    asio::post(io, [&] { front.close(); });
    program.join();
    std::thread stopping([&] { server.stop(); });
    for (auto& client : clients) {
      std::optional<RawClient::Frame> frame;
      CHECK(pump([&] { return (frame = client->take_frame()).has_value(); }));
      if (frame) CHECK(frame->code() == 1001);
      client->send(test::close_frame(1001));
    }
    CHECK(pump([&] {
      for (auto& client : clients) {
        if (!client->ended()) return false;
      }
      return true;
    }));
    stopping.join();
    CHECK(manager->reserved() == 0);
    CHECK(manager->faults().empty());

    // Nobody is there any more who would answer.
    Tcp::acceptor port(io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    RawClient late(port.local_endpoint().port());
    server.adopt(port.accept(), RawClient::upgrade_request());
    CHECK(wait_for([&] {
      late.pump();
      return late.ended();
    }));
    CHECK(manager->reserved() == 0);
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("a TLS on a descriptor is adopted, whatever OpenSSL holds of it", "[websocketpp][adopt][tls]") {
  const test::Certificate certificate;
  const bool ahead = GENERATE(false, true);  // whether OpenSSL has read more than it was asked for
  const std::size_t before = test::open_descriptors();
  {
    test::Fixture f({}, portless());
    f.listen();
    f.manager->echo = true;
    std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
    REQUIRE(SSL_CTX_use_certificate_chain_file(context.get(), certificate.certificate_file.c_str()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(context.get(), certificate.key_file.c_str(), SSL_FILETYPE_PEM) == 1);
    SSL_CTX_set_read_ahead(context.get(), ahead ? 1 : 0);
    Tcp::acceptor port(f.io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    RawClient client(port.local_endpoint().port(), true);
    const std::string all = RawClient::upgrade_request() + test::text_frame("early");
    client.send(all);
    Tcp::socket socket = port.accept();
    socket.native_non_blocking(true);
    SSL* const tls = SSL_new(context.get());
    BIO* const own = BIO_new_socket(socket.release(), BIO_CLOSE);
    const auto descriptor = static_cast<int>(BIO_get_fd(own, nullptr));
    SSL_set_bio(tls, own, own);
    CHECK(wait_for([&] {
      client.pump();
      return SSL_accept(tls) == 1;
    }));
    std::string received(RawClient::upgrade_request().size(), '\0');
    CHECK(wait_for([&] {
      client.pump();
      return SSL_read(tls, received.data(), static_cast<int>(received.size())) == static_cast<int>(received.size());
    }));
    REQUIRE(client.all_sent());
    f.listener->adopt({descriptor, tls}, received);
    CHECK((SSL_get_options(tls) & SSL_OP_NO_RENEGOTIATION) != 0);
    CHECK((SSL_get_mode(tls) & SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER) != 0);
    SSL_free(tls);
    context.reset();
    std::optional<RawClient::Frame> frame;
    CHECK(f.until([&] {
      client.pump();
      if (client.in.rfind("HTTP/1.1", 0) == 0) (void)client.take_head();
      return (frame = client.take_frame()) || client.ended();
    }));
    REQUIRE(frame);
    CHECK(frame->payload == "early");
    client.cut();
    CHECK(f.until([&] { return f.manager->reserved() == 0; }));
  }
  CHECK(test::open_descriptors() == before);
}

TEST_CASE("an adopted socket is a transport, plain and over TLS", "[contract][transport][websocketpp][adopt]") {
  const test::Certificate certificate;
  const bool tls = GENERATE(false, true);
  struct Program {
    Program(asio::io_context& io, const std::shared_ptr<IConnectionManager>& manager, const test::Certificate* shown)
        : listener(io, manager, portless()), front(io, shown, [this](AcceptedSocket socket, std::string received) {
            listener.adopt(std::move(socket), std::move(received));
          }) {}
    muster::websocketpp::Listener listener;
    Front front;
  };
  test::transport_contract([&](const std::shared_ptr<IConnectionManager>& manager) {
    return std::make_unique<test::SocketFixture>(tls, [&](asio::io_context& io) {
      const auto program = std::make_shared<Program>(io, manager, tls ? &certificate : nullptr);
      return test::SocketFixture::Listening(program, program->front.port());
    });
  });
}
