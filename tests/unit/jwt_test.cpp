// JwtAuthenticator: whose tokens it takes, what it takes from them, and how it says no.
#include "contract/authenticator_contract.hpp"
#include "unit/jwt_fixture.hpp"

using namespace muster;
using namespace muster::test::jwt;
using namespace std::chrono_literals;
using test::JwtSigner;

namespace {

class Jwt : public test::AuthenticatorFixture {
 public:
  Authenticator& seam() override { return authenticator_; }
  std::vector<Known> accepted(ConnectionId) const override {
    const auto end = WallTime(2000s);
    return {{es().sign_as("e", ann), {"ann", "", {}, end}},
            {hs.sign_as("h", R"({"sub":"bob","tenant":"acme","roles":["a","b"],"exp":2000})"),
             {"bob", "acme", {"a", "b"}, end}}};
  }
  std::vector<std::string> refused() const override {
    return {"x", "a.b.c", hs.sign_as("e", ann), hs.sign_as("h", R"({"sub":"ann","exp":999})"), es().sign(ann)};
  }

 private:
  JwtAuthenticator authenticator_{options({es().key("e"), hs.key("h")})};
};

}  // namespace

TEST_CASE("JwtAuthenticator is an authenticator", "[contract][authenticator][jwt]") {
  test::authenticator_contract([] { return std::make_unique<Jwt>(); });
}

TEST_CASE("tokens of HS256, RS256 and ES256 are let in by their key", "[jwt]") {
  for (const JwtSigner& signer : {hs, rs(), es()}) {
    const auto answer = ask(options({signer.key()}), signer.sign(ann));
    REQUIRE(answer);
    CHECK(answer.value().user == "ann");
    CHECK(answer.value().tenant.empty());
    CHECK(answer.value().roles.empty());
    CHECK(answer.value().expires_at == WallTime(2000s));
  }
}

TEST_CASE("a token's claims are told with the identity, unless they are not to be kept", "[jwt]") {
  auto asked = options({hs.key()});
  const auto answer = ask(asked, hs.sign(R"({"sub":"ann","exp":2000,"plan":"gold"})"));
  REQUIRE(answer);
  CHECK(answer.value().claims == json(R"({"exp":2000,"plan":"gold","sub":"ann"})"));
  asked.keep_claims = false;
  CHECK(ask(asked, hs.sign(ann)).value().claims.empty());
}

TEST_CASE("the tokens that RFC 7515 gives as examples are let in", "[jwt]") {
  const std::string claims =
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
  // A.1. The key is given there in base64url.
  const std::string key =
      "\x03\x23\x35\x4b\x2b\x0f\xa5\xbc\x83\x7e\x06\x65\x77\x7b\xa6\x8f\x5a\xb3\x28\xe6\xf0\x54\xc9\x28\xa9\x0f\x84\xb2"
      "\xd2\x50\x2e\xbf\xd3\xfb\x5a\x92\xd2\x06\x47\xef\x96\x8a\xb4\xc3\x77\x62\x3d\x22\x3d\x2e\x21\x72\x05\x2e\x4f\x08"
      "\xc0\xcd\x9a\xf5\x67\xd0\x80\xa3";
  auto asked = options({{JwtAlgorithm::HS256, key}});
  asked.user_claim = "iss";
  const std::string with_hmac =
      "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  CHECK(refusal(asked, with_hmac).empty());
  CHECK(refusal(asked, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claims +
                           ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl") == not_valid);
  // A.3.
  asked.keys = {{JwtAlgorithm::ES256,
                 "-----BEGIN PUBLIC KEY-----\n"
                 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                 "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                 "-----END PUBLIC KEY-----\n"}};
  CHECK(refusal(asked, "eyJhbGciOiJFUzI1NiJ9." + claims +
                           ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
            .empty());
}

TEST_CASE("an unsigned token is refused, whatever key there is", "[jwt]") {
  for (const JwtSigner& signer : {hs, rs(), es()}) {
    for (const char* none : {"none", "None", "NONE", ""}) {
      const std::string header = std::string(R"({"alg":")") + none + R"("})";
      const std::string text = test::base64url(header) + "." + test::base64url(ann) + ".";
      CHECK(refusal(options({signer.key()}), text) == not_valid);
      CHECK(refusal(options({signer.key()}), signer.sign(header, ann)) == not_valid);
    }
    CHECK(refusal(options({signer.key()}), signer.sign("{}", ann)) == not_valid);
    CHECK(refusal(options({signer.key()}), signer.sign(R"({"alg":null})", ann)) == not_valid);
  }
}

TEST_CASE("a token that names another algorithm than its key's is refused", "[jwt]") {
  // The attack: the public key, which everyone has, taken for the secret of an HMAC.
  for (const JwtSigner& signer : {rs(), es()}) {
    const auto forger = JwtSigner::hs256(signer.public_key());
    CHECK(refusal(options({signer.key()}), forger.sign(ann)) == not_valid);
    CHECK(refusal(options({signer.key("a")}), forger.sign_as("a", ann)) == not_valid);
  }
  // Good signatures under a wrong name, and the right name in another spelling.
  CHECK(refusal(options({rs().key()}), rs().sign(R"({"alg":"RS512"})", ann)) == not_valid);
  CHECK(refusal(options({hs.key()}), hs.sign(R"({"alg":"HS512"})", ann)) == not_valid);
  CHECK(refusal(options({hs.key()}), hs.sign(R"({"alg":"hs256"})", ann)) == not_valid);
  CHECK(refusal(options({hs.key()}), hs.sign(R"({"alg":"RS256","alg":"HS256"})", ann)).empty());
  CHECK(refusal(options({hs.key()}), hs.sign(R"({"alg":"HS256","alg":"RS256"})", ann)) == not_valid);
}

TEST_CASE("a header that asks for what is not known here is refused", "[jwt]") {
  CHECK(refusal(options({hs.key()}), hs.sign(R"({"alg":"HS256","crit":["b64"],"b64":false})", ann)) == not_valid);
  CHECK(refusal(options({hs.key()}), hs.sign(R"({"alg":"HS256","kid":7})", ann)) == not_valid);
  CHECK(refusal(options({hs.key()}), hs.sign(R"(["HS256"])", ann)) == not_valid);
  CHECK(refusal(options({hs.key()}), hs.sign("HS256", ann)) == not_valid);
}

TEST_CASE("a token may say that it is a JWT, and nothing else", "[jwt]") {
  const auto typed = [](const std::string& type) {
    return refusal(options({hs.key()}), hs.sign(R"({"alg":"HS256","typ":")" + type + "\"}", ann));
  };
  CHECK(typed("JWT").empty());
  CHECK(typed("jwt").empty());
  for (const char* other : {"logout+jwt", "at+jwt", ""}) CHECK(typed(other) == not_valid);
  for (const char* other : {"7", "null", "true", R"(["JWT"])", R"({"JWT":1})"}) {
    CHECK(refusal(options({hs.key()}), hs.sign(std::string(R"({"alg":"HS256","typ":)") + other + "}", ann)) ==
          not_valid);
  }
}

TEST_CASE("a token that was changed after it was signed is refused", "[jwt]") {
  for (const JwtSigner& signer : {hs, rs(), es()}) {
    const std::string token = signer.sign(ann);
    JwtAuthenticator authenticator(options({signer.key()}));
    REQUIRE(ask(authenticator, token));
    for (std::size_t at = 0; at < token.size(); at += at + 3 < token.size() ? 3 : 1) {
      std::string changed = token;
      changed[at] = changed[at] == 'A' ? 'B' : 'A';
      INFO(to_string(signer.key().algorithm) << " changed at " << at);
      CHECK_FALSE(ask(authenticator, changed));
    }
    for (std::size_t size = 0; size < token.size(); size += 5) {
      CHECK_FALSE(ask(authenticator, token.substr(0, size)));
    }
    for (const auto& spelling : {token + "=", token + " ", " " + token, token + ".", token + ".x", "." + token,
                                 token + "!", token + std::string(1, '\0'), token + "\n"}) {
      CHECK_FALSE(ask(authenticator, spelling));
    }
  }
  CHECK(refusal(options({hs.key()}), JwtSigner::hs256(std::string(32, 't')).sign(ann)) == not_valid);
  CHECK(refusal(options({rs().key()}), es().sign(R"({"alg":"RS256"})", ann)) == not_valid);
  CHECK(refusal(options({es().key()}), JwtSigner::es256().sign(ann)) == not_valid);
  CHECK(refusal(options({es().key()}), JwtSigner::es256("P-384").sign(ann)) == not_valid);
}

TEST_CASE("a token has one spelling", "[jwt]") {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (const JwtSigner& signer : {hs, rs(), es()}) {
    const std::string token = signer.sign(ann);
    JwtAuthenticator authenticator(options({signer.key()}));
    std::size_t good = 0;
    for (const char last : digits) good += ask(authenticator, token.substr(0, token.size() - 1) + last) ? 1 : 0;
    CHECK(good == 1);
    // A character more carries no whole byte.
    const std::size_t signature = token.size() - token.rfind('.') - 1;
    if (signature % 4 == 0) CHECK_FALSE(ask(authenticator, token + "A"));
  }
}

TEST_CASE("a signature of zeros is refused", "[jwt]") {  // CVE-2022-21449, elsewhere
  const std::string text = test::base64url(R"({"alg":"ES256"})") + "." + test::base64url(ann) + ".";
  CHECK(refusal(options({es().key()}), text + test::base64url(std::string(64, '\0'))) == not_valid);
}

TEST_CASE("a token is good until exp and from nbf on, and the leeway moves both", "[jwt]") {
  const Clock clock;
  auto asked = options({hs.key()});
  asked.clock = clock;
  const std::string token = hs.sign(R"({"sub":"ann","nbf":1000,"exp":2000})");
  const auto at = [&](std::int64_t now_ms, std::chrono::milliseconds leeway) {
    *clock.now = now_ms;
    asked.leeway = leeway;
    return refusal(asked, token);
  };
  CHECK(at(999'999, 0s) == "The token is not valid yet");
  CHECK(at(1'000'000, 0s).empty());
  CHECK(at(1'999'999, 0s).empty());
  CHECK(at(2'000'000, 0s) == "The token has expired");
  CHECK(at(989'999, 10s) == "The token is not valid yet");
  CHECK(at(990'000, 10s).empty());
  CHECK(at(2'009'999, 10s).empty());
  CHECK(at(2'010'000, 10s) == "The token has expired");

  *clock.now = 2'005'000;
  const auto late = ask(asked, token);
  REQUIRE(late);
  CHECK(late.value().expires_at == WallTime(2010s));  // not in the past: the core would refuse it
}

TEST_CASE("times may have a fraction, and may be far away", "[jwt]") {
  CHECK(refusal(R"({"sub":"ann","exp":1000.5})").empty());
  CHECK(refusal(R"({"sub":"ann","exp":999.5})") == "The token has expired");
  CHECK(refusal(R"({"sub":"ann","exp":253402300799})").empty());  // the end of 9999
  CHECK(refusal(R"({"sub":"ann","exp":-9223372036854775808})") == "The token has expired");
  CHECK(refusal(R"({"sub":"ann","exp":0})") == "The token has expired");
  CHECK(refusal(R"({"sub":"ann","exp":2000,"nbf":-1})").empty());
  CHECK(refusal(R"({"sub":"ann","exp":2000,"nbf":253402300799})") == "The token is not valid yet");
  for (const char* wrong : {"\"2000\"", "null", "true", "[2000]", "{}"}) {
    CHECK(refusal(std::string(R"({"sub":"ann","exp":)") + wrong + "}") == "The token's \"exp\" is not a number");
    CHECK(refusal(std::string(R"({"sub":"ann","exp":2000,"nbf":)") + wrong + "}") ==
          "The token's \"nbf\" is not a number");
  }
}

TEST_CASE("times in milliseconds are told from far ones", "[jwt]") {
  for (const char* far : {"253402300800", "1790000000000", "9223372036854775807", "1e300"}) {
    CHECK(refusal(std::string(R"({"sub":"ann","exp":)") + far + "}") ==
          "The token's \"exp\" must be in seconds since 1970-01-01, not in milliseconds");
    CHECK(refusal(std::string(R"({"sub":"ann","exp":2000,"nbf":)") + far + "}") ==
          "The token's \"nbf\" must be in seconds since 1970-01-01, not in milliseconds");
  }
}

TEST_CASE("a token that never expires is refused unless that is allowed", "[jwt]") {
  CHECK(refusal(R"({"sub":"ann"})") == "The token has no \"exp\": it would never expire");
  auto asked = options({hs.key()});
  asked.allow_without_expiry = true;
  const auto answer = ask(asked, hs.sign(R"({"sub":"ann"})"));
  REQUIRE(answer);
  CHECK_FALSE(answer.value().expires_at);
  CHECK(refusal(asked, hs.sign(R"({"sub":"ann","exp":1})")) == "The token has expired");
}

TEST_CASE("the issuer must be the one that is expected", "[jwt]") {
  auto asked = options({hs.key()});
  CHECK(refusal(asked, hs.sign(R"({"sub":"ann","exp":2000,"iss":"anyone"})")).empty());
  asked.issuer = "https://id.example";
  CHECK(refusal(asked, hs.sign(R"({"sub":"ann","exp":2000,"iss":"https://id.example"})")).empty());
  for (const char* iss : {"", R"(,"iss":"https://id.example/")", R"(,"iss":["https://id.example"])", R"(,"iss":7)"}) {
    CHECK(refusal(asked, hs.sign(std::string(R"({"sub":"ann","exp":2000)") + iss + "}")) ==
          "The token is from another issuer");
  }
}

TEST_CASE("the audience must be or contain us, and without a name we are nobody's audience", "[jwt]") {
  const auto token = [](const std::string& aud) { return hs.sign(R"({"sub":"ann","exp":2000)" + aud + "}"); };
  const std::string other = "The token is for another audience";
  auto asked = options({hs.key()});
  CHECK(refusal(asked, token("")).empty());
  CHECK(refusal(asked, token(R"(,"aud":"chat")")) == other);
  CHECK(refusal(asked, token(R"(,"aud":"")")) == other);
  asked.audience = "chat";
  CHECK(refusal(asked, token(R"(,"aud":"chat")")).empty());
  CHECK(refusal(asked, token(R"(,"aud":["mail","chat"])")).empty());
  for (const char* aud : {"", R"(,"aud":"chats")", R"(,"aud":[])", R"(,"aud":["mail"])", R"(,"aud":[["chat"]])",
                          R"(,"aud":{"chat":1})", R"(,"aud":null)"}) {
    CHECK(refusal(asked, token(aud)) == other);
  }
}

TEST_CASE("claims of any name say user, tenant and roles", "[jwt]") {
  auto asked = options({hs.key()});
  asked.user_claim = "email";
  asked.tenant_claim = "https://example.com/org";
  asked.roles_claim = "scope";
  const auto answer = ask(asked, hs.sign(R"({"sub":"7","email":"ann@example.com","https://example.com/org":"acme",
      "scope":" read  write ","roles":["admin"],"tenant":"other","exp":2000})"));
  REQUIRE(answer);
  CHECK(answer.value().user == "ann@example.com");
  CHECK(answer.value().tenant == "acme");
  CHECK(answer.value().roles == std::vector<std::string>{"read", "write"});

  asked.tenant_claim.clear();
  asked.roles_claim.clear();
  const auto plain = ask(asked, hs.sign(R"({"email":"ann","tenant":"acme","roles":["admin"],"":"x","exp":2000})"));
  REQUIRE(plain);
  CHECK(plain.value().tenant.empty());
  CHECK(plain.value().roles.empty());
}

TEST_CASE("claims that are not what they must be are refused by name", "[jwt]") {
  const std::string nobody = "The token names no user: \"sub\" must be a string";
  for (const char* claims : {R"({"exp":2000})", R"({"sub":"","exp":2000})", R"({"sub":7,"exp":2000})",
                             R"({"sub":null,"exp":2000})", R"({"sub":["ann"],"exp":2000})"}) {
    CHECK(refusal(claims) == nobody);
  }
  CHECK(refusal(R"({"sub":"ann","exp":2000,"tenant":7})") == "The token's \"tenant\" is not a string");
  for (const char* roles : {"7", "[7]", "[\"a\",null]", "{}", "null", "[[\"a\"]]"}) {
    CHECK(refusal(std::string(R"({"sub":"ann","exp":2000,"roles":)") + roles + "}") ==
          "The token's \"roles\" is not an array of strings, nor a string");
  }
  for (const char* claims : {"[]", "7", "ann", R"({"sub":"ann","exp":2000)", R"({"sub":"a\u0000b","exp":2000})",
                             "{\"sub\":\"\xff\",\"exp\":2000}"}) {
    CHECK_FALSE(refusal(claims).empty());
  }
  CHECK(refusal(std::string(3000, '[')) == not_valid);
}

TEST_CASE("roles may be none, and names may be in any script", "[jwt]") {
  const auto answer = ask(options({hs.key()}), hs.sign("{\"sub\":\"b\xc3\xb6\\u0062\",\"roles\":[],\"exp\":2000}"));
  REQUIRE(answer);
  CHECK(answer.value().user ==
        "b\xc3\xb6"
        "b");
  CHECK(answer.value().roles.empty());
}

TEST_CASE("nothing of a token's claims is told before its signature is good", "[jwt]") {
  const auto forger = JwtSigner::hs256(std::string(32, 'f'));
  for (const char* claims : {R"({"sub":"ann","exp":1})", R"({"sub":"ann"})", R"({"exp":2000})"}) {
    CHECK(refusal(options({hs.key()}), forger.sign(claims)) == not_valid);
  }
}

TEST_CASE("a token is bounded in size", "[jwt]") {
  auto asked = options({hs.key()});
  const std::string token = hs.sign(ann);
  asked.max_token_bytes = token.size();
  CHECK(refusal(asked, token).empty());
  asked.max_token_bytes = token.size() - 1;
  CHECK(refusal(asked, token) == "The token is too long");
  CHECK(refusal(options({hs.key()}), std::string(10'000'000, 'x')) == "The token is too long");
}

TEST_CASE("without a clock of its own a program gets the system's", "[jwt]") {
  JwtOptions asked{{hs.key()}};
  CHECK(refusal(asked, hs.sign(ann)) == "The token has expired");
  CHECK(refusal(asked, hs.sign(R"({"sub":"ann","exp":9000000000})")).empty());
}
