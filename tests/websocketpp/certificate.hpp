// A self-signed certificate for localhost, in files that go when it goes.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace muster::test {

class Certificate {
 public:
  explicit Certificate(long serial = 1) {
    if (::mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("mkdtemp");
    certificate_file = directory_ + "/certificate.pem";
    key_file = directory_ + "/key.pem";
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1,
                               0);
    X509_set_issuer_name(certificate, name);
    X509_sign(certificate, key, EVP_sha256());
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
    std::FILE* file = std::fopen(key_file.c_str(), "r");
    if (file == nullptr) throw std::runtime_error(key_file);
    EVP_PKEY* key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
    std::fclose(file);
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
