// The checks of a token, on libjwt: which key, is the signature good, do the claims hold, and whom they name.
#pragma once

#include <jwt.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "muster/auth/jwt_authenticator.hpp"
#include "muster/auth/jwt_authenticator/keys.ipp"

namespace muster {
inline namespace MUSTER_ABI {
namespace jwt {

using Token = std::unique_ptr<jwt_t, decltype(&jwt_free)>;
using Text = std::unique_ptr<char, decltype(&std::free)>;

/// A token whose signature is good, or null. An empty key checks nothing.
MUSTER_INLINE Token decode(const std::string& token, const std::string& key) {
  jwt_t* decoded = nullptr;
  const auto* bytes = key.empty() ? nullptr : reinterpret_cast<const unsigned char*>(key.data());
  if (jwt_decode(&decoded, token.c_str(), bytes, static_cast<int>(key.size())) != 0) decoded = nullptr;
  return {decoded, &jwt_free};
}

/// All of it as JSON; empty when there is none.
MUSTER_INLINE std::string claims_of(const Token& token) {
  const Text json(jwt_get_grants_json(token.get(), nullptr), &std::free);
  return json == nullptr ? std::string() : std::string(json.get());
}

/// One spelling of some bytes in base64url without padding (RFC 4648, 3.5 and 5), and not empty: the bits of the last
/// character that carry nothing are zero.
MUSTER_INLINE bool is_base64url(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  if (text.empty() || text.find_first_not_of(digits) != std::string_view::npos) return false;
  const std::size_t last = digits.find(text.back());
  switch (text.size() % 4) {
    case 1:
      return false;
    case 2:
      return last % 16 == 0;
    case 3:
      return last % 4 == 0;
    default:
      return true;
  }
}

/// header.claims.signature, each in base64url (RFC 7515, 3.1). The library skips what is not base64, and bits that carry
/// nothing, so that without this one signature would have many spellings.
MUSTER_INLINE bool is_compact(std::string_view token) {
  const std::size_t first = token.find('.');
  const std::size_t last = token.rfind('.');
  return first < last && is_base64url(token.substr(0, first)) &&
         is_base64url(token.substr(first + 1, last - first - 1)) && is_base64url(token.substr(last + 1));
}

using Claims = rapidjson::Value;

/// A member, or null; the empty name is none's.
MUSTER_INLINE const Claims* find(const Claims& claims, const std::string& name) {
  if (name.empty()) return nullptr;
  const auto found = claims.FindMember(name.c_str());
  return found == claims.MemberEnd() ? nullptr : &found->value;
}

/// What a token says of itself before anything is checked: good for choosing a key, and for nothing else.
struct Header {
  std::string algorithm;
  std::optional<std::string> key_id;
};

/// None: it cannot be read, or asks for what is not known here.
MUSTER_INLINE std::optional<Header> header_of(const std::string& token) {
  // The library reads no header alone. As the claims of an unsigned token, {"alg":"none"}, it is read by the same
  // parser that will read it with the key.
  const Token unsigned_token = decode("eyJhbGciOiJub25lIn0." + token.substr(0, token.find('.')) + ".", {});
  if (unsigned_token == nullptr) return std::nullopt;
  rapidjson::Document header;
  header.Parse<rapidjson::kParseIterativeFlag>(claims_of(unsigned_token).c_str());
  if (!header.IsObject() || find(header, "crit") != nullptr) return std::nullopt;
  const Claims* algorithm = find(header, "alg");
  if (algorithm == nullptr || !algorithm->IsString()) return std::nullopt;
  // The library compares a type that is a string, and takes any other for none.
  if (const Claims* type = find(header, "typ"); type != nullptr && !type->IsString()) return std::nullopt;
  Header found{algorithm->GetString(), std::nullopt};
  if (const Claims* id = find(header, "kid"); id != nullptr) {
    if (!id->IsString()) return std::nullopt;
    found.key_id.emplace(id->GetString());
  }
  return found;
}

MUSTER_INLINE const JwtKey* key_for(const std::vector<JwtKey>& keys, const Header& header) {
  if (keys.size() == 1 && (keys.front().id.empty() || !header.key_id)) return &keys.front();
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const auto& key) { return key.id == header.key_id; });
  return found == keys.end() ? nullptr : &*found;
}

constexpr jwt_alg_t library_name(JwtAlgorithm algorithm) noexcept {
  constexpr jwt_alg_t names[] = {JWT_ALG_HS256, JWT_ALG_RS256, JWT_ALG_ES256};
  return names[static_cast<std::size_t>(algorithm)];
}

/// The claim `name`, a NumericDate (RFC 7519, 2), moved by `leeway`: seconds since 1970, which may have a fraction.
/// Beyond 2255 it is 2255: as good as forever, and arithmetic with it does not overflow.
MUSTER_INLINE Result<WallTime> time_of(const Claims& claim, const std::string& name, std::chrono::milliseconds leeway) {
  const auto refuse = [&name](const char* what) {
    return Error{errc::auth_failed, "The token's \"" + name + "\" " + what, {}};
  };
  if (!claim.IsNumber()) return refuse("is not a number");
  // The year 9999; an issuer that counts milliseconds by mistake is beyond it, and its tokens would be good for ever.
  if (claim.GetDouble() >= 253'402'300'800.0) return refuse("must be in seconds since 1970-01-01, not in milliseconds");
  constexpr double most = 9e9;
  const double seconds = std::clamp(claim.GetDouble() + static_cast<double>(leeway.count()) / 1000, 0.0, most);
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000))));
}

/// None: it is neither an array of strings nor a string.
MUSTER_INLINE std::optional<std::vector<std::string>> roles_of(const Claims& claim) {
  std::vector<std::string> roles;
  if (claim.IsString()) {
    const std::string_view text(claim.GetString(), claim.GetStringLength());
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find(' ', at), text.size());
      if (end > at) roles.emplace_back(text.substr(at, end - at));
      at = end + 1;
    }
    return roles;
  }
  if (!claim.IsArray()) return std::nullopt;
  for (const auto& role : claim.GetArray()) {
    if (!role.IsString()) return std::nullopt;
    roles.emplace_back(role.GetString(), role.GetStringLength());
  }
  return roles;
}

MUSTER_INLINE bool is_text(const Claims* claim, const std::string& wanted) {
  return claim != nullptr && claim->IsString() &&
         std::string_view(claim->GetString(), claim->GetStringLength()) == wanted;
}

/// Whether `aud`, a string or an array of them, names us; nobody named is everybody only when we have no name.
MUSTER_INLINE bool is_for(const Claims* audience, const std::string& us) {
  if (us.empty() || audience == nullptr) return us.empty() && audience == nullptr;
  if (!audience->IsArray()) return is_text(audience, us);
  const auto all = audience->GetArray();
  return std::any_of(all.begin(), all.end(), [&us](const Claims& one) { return is_text(&one, us); });
}

}  // namespace jwt

MUSTER_INLINE JwtAuthenticator::JwtAuthenticator(JwtOptions options)
    : options_([&options] {
        JwtOptions kept = options;
        kept.keys.clear();
        return kept;
      }()) {
  const auto refuse = [](const std::string& problem) { throw std::invalid_argument("JwtAuthenticator: " + problem); };
  if (options_.user_claim.empty()) refuse("user_claim is empty; the subject of a token is \"sub\"");
  if (options_.leeway < std::chrono::milliseconds(0) || options_.leeway > std::chrono::hours(24)) {
    refuse("leeway must be from 0 to 24 hours");
  }
  if (options_.max_token_bytes == 0 || options_.max_token_bytes > 64 * 1024) {
    refuse("max_token_bytes must be from 1 to 65536");  // the library decodes on the stack
  }
  if (const auto error = set_keys(std::move(options.keys))) refuse(error->message);
}

MUSTER_INLINE JwtAuthenticator::~JwtAuthenticator() = default;

MUSTER_INLINE std::optional<Error> JwtAuthenticator::set_keys(std::vector<JwtKey> keys) {
  if (std::string problem = jwt::problem_of_keys(keys); !problem.empty()) {
    return Error{errc::invalid_message, std::move(problem), {}};
  }
  auto replacement = std::make_shared<const Keys>(std::move(keys));
  const CheckedLock lock(mutex_);
  keys_ = std::move(replacement);
  return std::nullopt;
}

MUSTER_INLINE void JwtAuthenticator::authenticate(const Credentials& credentials, Reply<Authentication> done) {
  try {
    done(check(credentials.token));
  } catch (...) {
    done(Error{errc::internal, "The token could not be checked", {}});
  }
}

MUSTER_INLINE Authentication JwtAuthenticator::check(const std::string& token) const {
  if (token.size() > options_.max_token_bytes) return reject("The token is too long");
  if (!jwt::is_compact(token)) return reject();
  const auto header = jwt::header_of(token);
  if (!header) return reject();
  const auto keys = [this] {
    const CheckedLock lock(mutex_);
    return keys_;
  }();
  const JwtKey* key = jwt::key_for(*keys, *header);
  if (key == nullptr || header->algorithm != to_string(key->algorithm)) return reject();
  const auto decoded = jwt::decode(token, key->key);
  // The library has used the algorithm that the token names: that it was the key's is checked once more, with its own
  // reading of the header.
  if (decoded == nullptr || jwt_get_alg(decoded.get()) != jwt::library_name(key->algorithm)) return reject();
  return identify(jwt::claims_of(decoded));
}

MUSTER_INLINE Authentication JwtAuthenticator::identify(std::string_view text) const {
  rapidjson::Document claims;
  claims.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (!claims.IsObject()) return reject();
  const WallTime now = options_.clock ? options_.clock() : std::chrono::system_clock::now();

  Identity identity;
  if (const auto* expiry = jwt::find(claims, "exp")) {
    const auto ends_at = jwt::time_of(*expiry, "exp", options_.leeway);
    if (!ends_at) return ends_at.error();
    identity.expires_at = ends_at.value();
    if (now >= *identity.expires_at) return reject("The token has expired");
  } else if (!options_.allow_without_expiry) {
    return reject("The token has no \"exp\": it would never expire");
  }
  if (const auto* start = jwt::find(claims, "nbf")) {
    const auto starts_at = jwt::time_of(*start, "nbf", -options_.leeway);
    if (!starts_at) return starts_at.error();
    if (now < starts_at.value()) return reject("The token is not valid yet");
  }
  if (!options_.issuer.empty() && !jwt::is_text(jwt::find(claims, "iss"), options_.issuer)) {
    return reject("The token is from another issuer");
  }
  if (!jwt::is_for(jwt::find(claims, "aud"), options_.audience)) return reject("The token is for another audience");

  const auto* user = jwt::find(claims, options_.user_claim);
  if (user == nullptr || !user->IsString() || user->GetStringLength() == 0) {
    return reject("The token names no user: \"" + options_.user_claim + "\" must be a string");
  }
  identity.user.assign(user->GetString(), user->GetStringLength());
  if (const auto* tenant = jwt::find(claims, options_.tenant_claim)) {
    if (!tenant->IsString()) return reject("The token's \"" + options_.tenant_claim + "\" is not a string");
    identity.tenant.assign(tenant->GetString(), tenant->GetStringLength());
  }
  if (const auto* roles = jwt::find(claims, options_.roles_claim)) {
    auto names = jwt::roles_of(*roles);
    if (!names) return reject("The token's \"" + options_.roles_claim + "\" is not an array of strings, nor a string");
    identity.roles = std::move(*names);
  }
  if (options_.keep_claims) identity.claims = json(std::string(text));
  return accept(std::move(identity));
}

}  // namespace MUSTER_ABI
}  // namespace muster
