// Signs JSON Web Tokens with keys of its own, by OpenSSL alone: headers and claims may be as wrong as a test wants.
#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "muster/auth/jwt_authenticator.hpp"

namespace muster::test {

/// RFC 4648, 5, without padding.
inline std::string base64url(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  text.resize(text.find_last_not_of('=') + 1);
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

inline std::string hmac(const std::string& secret, const std::string& text) {
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), sum, &size);
  return {reinterpret_cast<char*>(sum), size};
}

class JwtSigner {
 public:
  static JwtSigner hs256(std::string secret) { return {JwtAlgorithm::HS256, nullptr, std::move(secret)}; }
  static JwtSigner rs256(unsigned bits = 2048) { return {JwtAlgorithm::RS256, EVP_RSA_gen(bits), {}}; }
  static JwtSigner es256(const char* curve = "P-256") { return {JwtAlgorithm::ES256, EVP_EC_gen(curve), {}}; }

  /// What an authenticator is given: the secret, or the public key as PEM.
  [[nodiscard]] const std::string& public_key() const { return public_; }
  [[nodiscard]] JwtKey key(std::string id = {}) const { return {algorithm_, public_, std::move(id)}; }

  [[nodiscard]] std::string sign(const std::string& header, const std::string& claims) const {
    const std::string text = base64url(header) + "." + base64url(claims);
    return text + "." + base64url(signature(text));
  }
  /// With an honest header.
  [[nodiscard]] std::string sign(const std::string& claims) const {
    return sign(R"({"alg":")" + std::string(to_string(algorithm_)) + R"(","typ":"JWT"})", claims);
  }
  [[nodiscard]] std::string sign_as(const std::string& id, const std::string& claims) const {
    return sign(R"({"alg":")" + std::string(to_string(algorithm_)) + R"(","kid":")" + id + R"("})", claims);
  }

 private:
  JwtSigner(JwtAlgorithm algorithm, EVP_PKEY* key, std::string secret)
      : algorithm_(algorithm), key_(key, &EVP_PKEY_free), public_(std::move(secret)) {
    if (key == nullptr) return;
    const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), &BIO_free);
    PEM_write_bio_PUBKEY(memory.get(), key);
    char* text = nullptr;
    const long size = BIO_get_mem_data(memory.get(), &text);
    public_.assign(text, static_cast<std::size_t>(size));
  }

  [[nodiscard]] std::string signature(const std::string& text) const {
    if (algorithm_ == JwtAlgorithm::HS256) return hmac(public_, text);
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    std::string signature(1024, '\0');
    auto* bytes = reinterpret_cast<unsigned char*>(signature.data());
    std::size_t size = signature.size();
    if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), bytes, &size, reinterpret_cast<const unsigned char*>(text.data()), text.size()) !=
            1) {
      throw std::runtime_error("OpenSSL does not sign");
    }
    signature.resize(size);
    return algorithm_ == JwtAlgorithm::RS256 ? signature : plain(signature);
  }

  /// The two numbers of an ECDSA signature, one after the other (RFC 7518, 3.4), from OpenSSL's DER.
  [[nodiscard]] std::string plain(const std::string& der) const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
    const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> numbers(
        d2i_ECDSA_SIG(nullptr, &bytes, static_cast<long>(der.size())), &ECDSA_SIG_free);
    const int size = (EVP_PKEY_get_bits(key_.get()) + 7) / 8;
    std::string text(2 * static_cast<std::size_t>(size), '\0');
    auto* out = reinterpret_cast<unsigned char*>(text.data());
    BN_bn2binpad(ECDSA_SIG_get0_r(numbers.get()), out, size);
    BN_bn2binpad(ECDSA_SIG_get0_s(numbers.get()), out + size, size);
    return text;
  }

  JwtAlgorithm algorithm_;
  std::shared_ptr<EVP_PKEY> key_;
  std::string public_;
};

}  // namespace muster::test
