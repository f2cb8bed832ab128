// muster_server and its signals: what SIGHUP reads again, and that nothing keeps it from ending.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "process.hpp"
#include "support/catch.hpp"
#include "support/wait_for.hpp"
#include "text_matchers.hpp"
#include "websocketpp/certificate.hpp"
#include "websocketpp/raw_client.hpp"
#include "websocketpp/tls_fixture.hpp"

namespace fs = std::filesystem;
using muster::test::Certificate;
using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;
using muster::test::RawClient;
using muster::test::TlsClient;
using muster::test::wait_for;

namespace {

class File {
 public:
  explicit File(const std::string& text) { write(text); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { fs::remove(path_); }
  void write(const std::string& text) const { std::ofstream(path_) << text; }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  static int next() {
    static int count = 0;
    return ++count;
  }
  fs::path path_ =
      fs::temp_directory_path() / ("muster-reload-" + std::to_string(getpid()) + "-" + std::to_string(next()));
};

std::vector<std::string> server(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {MUSTER_SERVER, "--port", "0"});
  return flags;
}

constexpr const char* read_again = "SIGHUP: tokens, keys, roles and certificate were read again";

}  // namespace

TEST_CASE("SIGHUP reads tokens and roles again, all of them or none", "[server]") {
  const File tokens(R"({"before": {"user": "ann"}})");
  const File roles(R"([{"role": "*", "actions": ["join"], "pattern": "old"}])");
  Process process(server({"--auth", "tokens:" + tokens.path(), "--roles", roles.path()}));
  const std::uint16_t port = process.port();
  Client ann(port, "Authorization: Bearer before\r\n");
  const auto join = [](Client& client, const std::string& room) {
    client.send(R"({"type":"join","id":1,"payload":{"room":")" + room + R"("}})");
    return client.receive(R"("reply_to":1)");
  };
  CHECK_THAT(join(ann, "old"), ContainsSubstring("room_joined"));
  CHECK_THAT(join(ann, "new"), ContainsSubstring("permission_denied"));

  tokens.write(R"({"after": {"user": "bob"}})");
  roles.write(R"([{"role": "*", "actions": ["join"], "pattern": "new"}])");
  process.signal(SIGHUP);
  process.says(read_again);
  Client bob(port, "Authorization: Bearer after\r\n");
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer before\r\n"), ContainsSubstring(" 401 "));
  CHECK_THAT(join(ann, "new"), ContainsSubstring("room_joined"));  // who is connected stays
  CHECK_THAT(join(bob, "old"), ContainsSubstring("permission_denied"));

  tokens.write(R"({"third": {"user": "cat"}})");
  roles.write("[");
  process.signal(SIGHUP);
  process.says("SIGHUP: everything is as it was, because of --roles: " + roles.path() + " line 1: ");
  CHECK_THROWS_WITH(Client(port, "Authorization: Bearer third\r\n"), ContainsSubstring(" 401 "));
  Client again(port, "Authorization: Bearer after\r\n");

  process.signal(SIGTERM);
  CHECK(process.wait().exit_code == 0);
}

TEST_CASE("SIGHUP reads the certificate again", "[server]") {
  const Certificate certificate(7);
  const Certificate renewed(8);
  Process process(
      server({"--auth", "anonymous", "--tls-cert", certificate.certificate_file, "--tls-key", certificate.key_file}));
  const std::uint16_t port = process.port();
  const auto shown = [port] {
    RawClient client(port, true);
    CHECK(wait_for([&] {
      client.pump();
      return client.serial() != 0;
    }));
    return client.serial();
  };
  CHECK(shown() == 7);
  certificate.become(renewed);
  process.signal(SIGHUP);
  process.says(read_again);
  CHECK(shown() == 8);
  std::ofstream(certificate.key_file) << "no key";
  process.signal(SIGHUP);
  process.says("SIGHUP: everything is as it was, because of TLS key " + certificate.key_file);
  CHECK(shown() == 8);
}

TEST_CASE("SIGHUP reads the client CA again", "[server]") {
  const Certificate certificate;
  const Certificate before(Certificate::Content{1, "Before"});
  const Certificate after(Certificate::Content{2, "After"});
  const auto signed_by = [](const Certificate& ca) {
    Certificate::Content content;
    content.issuer = &ca;
    return content;
  };
  const Certificate ann(signed_by(before));
  const Certificate bob(signed_by(after));
  const File ca("");
  const auto trust = [&ca](const Certificate& trusted) {
    fs::copy_file(trusted.certificate_file, ca.path(), fs::copy_options::overwrite_existing);
  };
  trust(before);
  Process process(server({"--auth", "anonymous", "--tls-cert", certificate.certificate_file, "--tls-key",
                          certificate.key_file, "--tls-client-ca", ca.path()}));
  const std::uint16_t port = process.port();
  const auto let_in = [port](const Certificate& who) {
    RawClient client(port, TlsClient(0, who).make());
    client.send(RawClient::upgrade_request());
    std::optional<std::string> head;
    CHECK(wait_for([&] {
      client.pump();
      return (head = client.take_head()) || client.ended();
    }));
    return head.has_value();
  };
  CHECK(let_in(ann));
  CHECK_FALSE(let_in(bob));
  trust(after);
  process.signal(SIGHUP);
  process.says(read_again);
  CHECK_FALSE(let_in(ann));
  CHECK(let_in(bob));
}

TEST_CASE("ciphers that there are not are one line by their flag, and exit code 2", "[server]") {
  const Certificate certificate;
  const auto ended = Process(server({"--auth", "anonymous", "--tls-cert", certificate.certificate_file, "--tls-key",
                                     certificate.key_file, "--tls-ciphersuites", "TLS_NONE"}))
                         .wait();
  CHECK(ended.exit_code == 2);
  CHECK(ended.err == "muster_server: websocketpp listener: --tls-ciphersuites: OpenSSL has no \"TLS_NONE\"\n");
}

TEST_CASE("SIGHUP ends no server, whatever it was started with", "[server]") {
  Process process(server({"--auth", "anonymous"}));
  const std::uint16_t port = process.port();
  process.signal(SIGHUP);
  process.says(read_again);
  Client ann(port);
  ann.receive("connection_ack");
  process.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  for (int i = 0; i < 100; ++i) process.signal(SIGHUP);
  CHECK(process.wait().exit_code == 0);
}

TEST_CASE("a log that nobody reads keeps no server from ending", "[server]") {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);  // inherited: it is the server's standard error
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  while (write(ends[1], "x", 1) == 1) {
  }
  fcntl(ends[1], F_SETFL, 0);
  auto command = server({"--auth", "anonymous", "--log-level", "debug"});
  command.insert(command.begin(), {"/bin/sh", "-c", "exec \"$0\" \"$@\" 2>&" + std::to_string(ends[1])});
  Process process(command);
  Client ann(process.port());
  ann.receive("connection_ack");
  process.signal(SIGHUP);
  process.signal(SIGTERM);
  CHECK(ann.close_code() == 1001);
  CHECK(process.wait().exit_code == 0);
  close(ends[0]);
  close(ends[1]);
}
