// Several devices of one user: copied to each other, listed, signed out.
#include <csignal>
#include <deque>
#include <string>

#include "process.hpp"
#include "support/catch.hpp"
#include "text_matchers.hpp"

using muster::test::Client;
using muster::test::ContainsSubstring;
using muster::test::Process;

TEST_CASE("devices copies to a user's other devices, lists them and signs them out", "[devices]") {
  Process devices({MUSTER_DEVICES, "0"});
  const std::uint16_t port = devices.port();
  const std::string ann = "Authorization: Bearer ann-secret\r\n";
  Client phone(port, ann);
  Client laptop(port, ann);
  Client bob(port, "Authorization: Bearer bob-secret\r\n");
  for (Client* one : {&phone, &laptop, &bob}) one->receive("connection_ack");

  phone.send(R"({"type":"devices","id":1})");
  const std::string listed = phone.receive(R"("reply_to":1)");
  CHECK_THAT(listed, ContainsSubstring(R"("this":true)") && ContainsSubstring(R"("this":false)"));
  bob.send(R"({"type":"devices","id":1})");
  CHECK(bob.receive(R"("reply_to":1)").find(R"("this":false)") == std::string::npos);

  phone.send(R"({"type":"copy","id":2,"payload":{"text":"hello"}})");
  CHECK_THAT(phone.receive(R"("reply_to":2)"), ContainsSubstring(R"("devices":1)"));
  CHECK_THAT(laptop.receive("direct"), ContainsSubstring(R"({"text":"hello"})"));
  bob.send(R"({"type":"presence_query","id":2,"payload":{"users":["ann"]}})");
  CHECK_THAT(bob.receive(R"("reply_to":2)"), ContainsSubstring(R"("connections":2)"));

  phone.send(R"({"type":"sign_out_others","id":3})");
  CHECK_THAT(phone.receive(R"("reply_to":3)"), ContainsSubstring(R"("signed_out":1)"));
  laptop.receive("kicked");
  CHECK(laptop.close_code() == 4004);

  devices.signal(SIGTERM);
  CHECK(phone.close_code() == 1001);
  CHECK(bob.close_code() == 1001);
  const auto ended = devices.wait();
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
  // Once each: the second device neither brought ann online again nor, going, took her offline.
  for (const char* line : {"ann is online\n", "ann is offline\n", "bob is online\n", "bob is offline\n"}) {
    const auto first = ended.out.find(line);
    CHECK(first != std::string::npos);
    CHECK(ended.out.find(line, first + 1) == std::string::npos);
  }
}

TEST_CASE("a sixth device of a user signs out the oldest", "[devices]") {
  Process devices({MUSTER_DEVICES, "0"});
  const std::uint16_t port = devices.port();
  std::deque<Client> signed_in;
  for (int i = 0; i < 6; ++i) {
    signed_in.emplace_back(port, "Authorization: Bearer ann-secret\r\n");
    signed_in.back().receive("connection_ack");
  }
  CHECK(signed_in.front().close_code() == 4005);
  signed_in.back().send(R"({"type":"sign_out_others","id":1})");
  CHECK_THAT(signed_in.back().receive(R"("reply_to":1)"), ContainsSubstring(R"("signed_out":4)"));
}
