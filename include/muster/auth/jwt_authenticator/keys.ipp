// What a key must be before any token is checked with it.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "muster/auth/jwt_authenticator.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace jwt {

inline constexpr std::size_t least_secret_bytes = 32;
inline constexpr int least_rsa_bits = 2048;

/// What is wrong with a public key for this algorithm, as half a sentence; empty: nothing.
MUSTER_INLINE std::string problem_of_public_key(JwtAlgorithm algorithm, const std::string& pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                         &BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      memory == nullptr ? nullptr : PEM_read_bio_PUBKEY(memory.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
  if (key == nullptr) return "is not a public key in PEM (\"-----BEGIN PUBLIC KEY-----\")";
  if (algorithm == JwtAlgorithm::RS256) {
    if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) return "is not an RSA key, as RS256 needs";
    if (EVP_PKEY_get_bits(key.get()) >= least_rsa_bits) return {};
    return "has " + std::to_string(EVP_PKEY_get_bits(key.get())) + " bits; RS256 needs " +
           std::to_string(least_rsa_bits);
  }
  char curve[32] = {};
  if (EVP_PKEY_get_group_name(key.get(), curve, sizeof(curve), nullptr) == 1 &&
      std::string_view(curve) == "prime256v1") {  // OpenSSL's name of P-256
    return {};
  }
  return "is not a P-256 key, as ES256 needs";
}

MUSTER_INLINE std::string problem_of_keys(const std::vector<JwtKey>& keys) {
  if (keys.empty()) return "there are no keys";
  std::set<std::string> ids;
  for (const JwtKey& key : keys) {
    const std::string name = "the " + std::string(to_string(key.algorithm)) + " key" +
                             (key.id.empty() ? std::string() : " \"" + key.id + "\"") + " ";
    if (key.id.empty() && keys.size() > 1) return name + "has no id, which it needs because it is not the only one";
    if (!ids.insert(key.id).second) return name + "is not the only one with that id";
    std::string problem;
    if (key.algorithm != JwtAlgorithm::HS256) {
      problem = problem_of_public_key(key.algorithm, key.key);
    } else if (key.key.size() < least_secret_bytes) {
      problem = "has " + std::to_string(key.key.size()) + " bytes; HS256 needs " + std::to_string(least_secret_bytes);
    } else if (key.key.find("-----BEGIN ") != std::string::npos) {
      problem = "is a PEM file; HS256 needs a secret that nobody else knows";
    }
    if (!problem.empty()) return name + problem;
  }
  return {};
}

}  // namespace jwt

MUSTER_INLINE Result<JwtKey> read_jwt_key(JwtAlgorithm algorithm, const std::filesystem::path& file, std::string id) {
  const auto problem = [&file](const std::string& what) {
    return Error{errc::invalid_message, "key file " + file.string() + ": " + what, {}};
  };
  constexpr std::size_t most = 64 * 1024;
  std::error_code error;
  const bool is_directory = std::filesystem::is_directory(file, error);
  std::ifstream stream(file, std::ios::binary);
  if (is_directory || !stream) return problem("it cannot be read");
  std::string text(most + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > most) return problem("it is too large for a key");
  if (algorithm == JwtAlgorithm::HS256) {
    if (!text.empty() && text.back() == '\n') text.pop_back();
    if (!text.empty() && text.back() == '\r') text.pop_back();
  }
  JwtKey key{algorithm, std::move(text), std::move(id)};
  JwtKey alone = key;
  alone.id.clear();
  if (const std::string what = jwt::problem_of_keys({std::move(alone)}); !what.empty()) return problem(what);
  return key;
}

}  // namespace MUSTER_ABI
}  // namespace muster
