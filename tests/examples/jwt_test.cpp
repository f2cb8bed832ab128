// muster_server --auth jwt as a process: whom it lets in, and how its keys are replaced.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "process.hpp"
#include "support/catch.hpp"
#include "support/jwt_signer.hpp"
#include "text_matchers.hpp"

namespace fs = std::filesystem;
using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::JwtSigner;
using muster::test::Process;

namespace {

class KeyFile {
 public:
  explicit KeyFile(const std::string& name) : path_(fs::temp_directory_path() / (name + std::to_string(getpid()))) {}
  KeyFile(const KeyFile&) = delete;
  KeyFile& operator=(const KeyFile&) = delete;
  ~KeyFile() { fs::remove(path_); }
  void write(const std::string& text) const { std::ofstream(path_) << text; }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  fs::path path_;
};

Process serve(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {MUSTER_SERVER, "--auth", "jwt", "--port", "0", "--connect-rate-per-ip", "0"});
  return Process(std::move(flags));
}

std::string bearer(const std::string& token) { return "Authorization: Bearer " + token + "\r\n"; }

std::string in_an_hour() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now).count() + 3600);
}

/// Tries until the server lets it in; false: not in time.
bool is_let_in(std::uint16_t port, const std::string& token) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < end) {
    try {
      Client client(port, bearer(token));
      return true;
    } catch (const std::exception&) {
    }
  }
  return false;
}

}  // namespace

TEST_CASE("a signed token lets in whom it names, and says why it does not", "[server][jwt]") {
  const auto es = JwtSigner::es256();
  const auto rs = JwtSigner::rs256();
  const KeyFile es_file("muster-jwt-es");
  const KeyFile rs_file("muster-jwt-rs");
  es_file.write(es.public_key());
  rs_file.write(rs.public_key());
  Process server = serve({"--jwt-key", "e=ES256:" + es_file.path(), "--jwt-key", "r=RS256:" + rs_file.path(),
                          "--jwt-issuer", "https://id.example", "--jwt-audience", "chat", "--jwt-tenant-claim", "org"});
  const std::uint16_t port = server.port();
  const auto claims = [](const std::string& exp) {
    return R"({"sub":"ann","org":"acme","iss":"https://id.example","aud":["chat"],"exp":)" + exp + "}";
  };
  for (const JwtSigner* signer : {&es, &rs}) {
    const std::string id = signer == &es ? "e" : "r";
    Client ann(port, bearer(signer->sign_as(id, claims(in_an_hour()))));
    CHECK_THAT(ann.receive("connection_ack"),
               ContainsSubstring(R"("user_id":"ann")") && ContainsSubstring(R"("tenant":"acme")"));
    CHECK_THROWS_WITH(Client(port, bearer(signer->sign_as(id, claims("1")))),
                      ContainsSubstring(" 401 ") && ContainsSubstring("The token has expired"));
  }
  CHECK_THROWS_WITH(Client(port, bearer(es.sign_as("r", claims(in_an_hour())))), ContainsSubstring(" 401 "));
  CHECK_THROWS_WITH(Client(port, bearer(JwtSigner::hs256(rs.public_key()).sign_as("r", claims(in_an_hour())))),
                    ContainsSubstring("The token is not valid"));
  CHECK_THROWS_WITH(Client(port, bearer(es.sign_as("e", R"({"sub":"ann","exp":)" + in_an_hour() + "}"))),
                    ContainsSubstring("The token is from another issuer"));

  // As its first message.
  Client bob(port);
  bob.send(R"({"type":"authenticate","payload":{"token":")" + es.sign_as("e", claims(in_an_hour())) + R"("}})");
  bob.receive("connection_ack");
  // As a browser does it.
  Client eve(port, "Sec-WebSocket-Protocol: muster.v1.json, bearer, " + es.sign_as("e", claims(in_an_hour())) + "\r\n");
  eve.receive("connection_ack");

  // What it was shown, it does not tell.
  server.signal(SIGTERM);
  const auto ended = server.wait();
  CHECK(ended.exit_code == 0);
  CHECK_THAT(ended.err, !ContainsSubstring("eyJ"));
}

TEST_CASE("SIGHUP reads the keys again, and keeps them when one cannot be read", "[server][jwt]") {
  const auto before = JwtSigner::es256();
  const auto after = JwtSigner::es256();
  const std::string claims = R"({"sub":"ann","exp":)" + in_an_hour() + "}";
  const KeyFile file("muster-jwt-key");
  file.write(before.public_key());
  Process server = serve({"--jwt-key", "ES256:" + file.path()});
  const std::uint16_t port = server.port();
  CHECK(is_let_in(port, before.sign(claims)));
  CHECK_THROWS(Client(port, bearer(after.sign(claims))));

  file.write(after.public_key());
  server.signal(SIGHUP);
  CHECK(is_let_in(port, after.sign(claims)));
  CHECK_THROWS_WITH(Client(port, bearer(before.sign(claims))), ContainsSubstring(" 401 "));

  file.write("no key");
  server.signal(SIGHUP);
  server.signal(SIGTERM);
  const auto ended = server.wait();
  CHECK(ended.exit_code == 0);
  CHECK_THAT(ended.err, ContainsSubstring("SIGHUP: tokens, keys, roles and certificate were read again"));
  CHECK_THAT(ended.err, ContainsSubstring("SIGHUP: everything is as it was, because of --jwt-key: key file " +
                                          file.path() + ": the ES256 key is not a public key in PEM"));
}

TEST_CASE("keys that cannot be used are one line and exit code 2", "[server][jwt]") {
  const auto refusal = [](std::vector<std::string> flags) {
    const auto ended = serve(std::move(flags)).wait();
    CHECK(ended.exit_code == 2);
    CHECK(ended.err.find('\n') == ended.err.size() - 1);
    return ended.err;
  };
  const KeyFile file("muster-jwt-bad");
  file.write("hunter2");
  CHECK_THAT(refusal({"--jwt-key", "HS256:/no/such/file"}), ContainsSubstring("--jwt-key: key file /no/such/file"));
  CHECK_THAT(
      refusal({"--jwt-key", "HS256:" + file.path()}),
      ContainsSubstring(file.path() + ": the HS256 key has 7 bytes; HS256 needs 32") && !ContainsSubstring("hunter2"));
  file.write(std::string(32, 's'));
  CHECK_THAT(refusal({"--jwt-key", "HS256:" + file.path(), "--jwt-key", "a=HS256:" + file.path()}),
             ContainsSubstring("has no id"));
}
