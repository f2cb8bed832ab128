// A certificate in files that go when it goes: self-signed for localhost, or of another that has signed it.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace muster::test {

class Certificate {
  template <class Read>
  static auto load(const std::string& path, Read read) {
    std::FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) throw std::runtime_error(path);
    auto* const loaded = read(file);
    std::fclose(file);
    return loaded;
  }
  [[nodiscard]] EVP_PKEY* key() const {
    return load(key_file, [](std::FILE* file) { return PEM_read_PrivateKey(file, nullptr, nullptr, nullptr); });
  }

 public:
  /// What is in it.
  struct Content {
    long serial = 1;
    std::string common_name = "localhost";
    /// As OpenSSL's configuration has them: "DNS:a,IP:127.0.0.1".
    std::string alt_names = {};
    std::string extended_key_usage = {};
    long ends_in_seconds = 24 * 3600;
    /// None: itself.
    const Certificate* issuer = nullptr;
  };

  explicit Certificate(long serial = 1) : Certificate(Content{serial}) {}
  explicit Certificate(const Content& content) {
    if (::mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("mkdtemp");
    certificate_file = directory_ + "/certificate.pem";
    key_file = directory_ + "/key.pem";
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), content.serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), content.ends_in_seconds);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(content.common_name.c_str()), -1, -1, 0);
    const auto extend = [&](int kind, const std::string& value) {
      if (value.empty()) return;
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
      if (extension == nullptr) throw std::runtime_error(value);
      X509_add_ext(certificate, extension, -1);
      X509_EXTENSION_free(extension);
    };
    extend(NID_basic_constraints, content.issuer == nullptr ? "critical,CA:TRUE" : "");
    extend(NID_subject_alt_name, content.alt_names);
    extend(NID_ext_key_usage, content.extended_key_usage);
    if (content.issuer == nullptr) {
      X509_set_issuer_name(certificate, name);
      X509_sign(certificate, key, EVP_sha256());
    } else {
      X509* issuer = load(content.issuer->certificate_file,
                          [](std::FILE* file) { return PEM_read_X509(file, nullptr, nullptr, nullptr); });
      EVP_PKEY* signs = content.issuer->key();
      X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
      X509_sign(certificate, signs, EVP_sha256());
      EVP_PKEY_free(signs);
      X509_free(issuer);
    }
    save(certificate_file, [&](std::FILE* file) { return PEM_write_X509(file, certificate); });
    save(key_file,
         [&](std::FILE* file) { return PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr); });
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  ~Certificate() {
    std::remove(certificate_file.c_str());
    std::remove(key_file.c_str());
    std::remove((directory_ + "/encrypted.pem").c_str());
    ::rmdir(directory_.c_str());
  }

  /// The key again, in a file that takes a passphrase.
  [[nodiscard]] std::string encrypted_key_file() const {
    EVP_PKEY* key = this->key();
    const std::string path = directory_ + "/encrypted.pem";
    const unsigned char passphrase[] = "secret";
    save(path, [&](std::FILE* to) {
      return PEM_write_PrivateKey(to, key, EVP_aes_256_cbc(), passphrase, 6, nullptr, nullptr);
    });
    EVP_PKEY_free(key);
    return path;
  }

  /// Becomes this one, in its own files.
  void become(const Certificate& other) const {
    const auto over = std::filesystem::copy_options::overwrite_existing;
    std::filesystem::copy_file(other.certificate_file, certificate_file, over);
    std::filesystem::copy_file(other.key_file, key_file, over);
  }

  std::string certificate_file;
  std::string key_file;

 private:
  template <class Write>
  static void save(const std::string& path, Write write) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr || write(file) != 1) throw std::runtime_error(path);
    std::fclose(file);
  }
  std::string directory_ = (std::filesystem::temp_directory_path() / "muster-certificate-XXXXXX").string();
};

}  // namespace muster::test
