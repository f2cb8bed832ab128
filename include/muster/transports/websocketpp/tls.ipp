// TLS: how OpenSSL reaches a socket, and what all TLS sockets of a listener share.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "muster/thread_safety.hpp"
#include "muster/transports/websocketpp.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {
namespace detail {

struct FreeTls {
  void operator()(SSL* tls) const { SSL_free(tls); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using Tls = std::unique_ptr<SSL, FreeTls>;
using TlsBio = std::unique_ptr<BIO, FreeTls>;

/// How OpenSSL reaches a socket. Its own socket BIO uses write(), which raises SIGPIPE; a library must not, nor may it
/// ignore the signal for the whole program.
class SocketBio {
 public:
  /// On this descriptor, which it does not own; none when memory is short.
  [[nodiscard]] static TlsBio make(int descriptor) {
    static const BIO_METHOD* const method = make_method();  // a constant, which sockets point to until the very end
    TlsBio bio(method != nullptr ? BIO_new(method) : nullptr);
    if (!bio) return nullptr;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): what it is given is the descriptor itself
    BIO_set_data(bio.get(), reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)));
    BIO_set_init(bio.get(), 1);
    return bio;
  }

 private:
  static const BIO_METHOD* make_method() {
    BIO_METHOD* const method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "muster");
    if (method == nullptr) return nullptr;
    BIO_meth_set_write(method, [](BIO* bio, const char* data, int size) {
      return transfer(bio, BIO_FLAGS_WRITE, [&](int descriptor) {
        return ::send(descriptor, data, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
      });
    });
    BIO_meth_set_read(method, [](BIO* bio, char* data, int size) {
      return transfer(bio, BIO_FLAGS_READ, [&](int descriptor) {
        return ::recv(descriptor, data, static_cast<std::size_t>(size), MSG_DONTWAIT);
      });
    });
    BIO_meth_set_ctrl(method, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH ? 1 : 0; });
    return method;
  }

  template <class Call>
  static int transfer(BIO* bio, int retry, Call call) {
    BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    const auto n = call(static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))));
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
      BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    }
    return static_cast<int>(n);
  }
};

/// An idle connection then holds no record buffers, which are 34 KiB; and a write resumes from wherever its bytes are.
constexpr long tls_mode =
    SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;

[[nodiscard]] inline std::string text_of(const X509_NAME* name) {
  const TlsBio bio(BIO_new(BIO_s_mem()));
  char* text = nullptr;
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) throw std::bad_alloc();
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

/// Empty: of a kind that is not shown, or with what could be taken for something else.
[[nodiscard]] inline std::string text_of(const GENERAL_NAME& name) {
  int kind = 0;
  const void* const value = GENERAL_NAME_get0_value(&name, &kind);
  if (kind != GEN_DNS && kind != GEN_URI && kind != GEN_EMAIL && kind != GEN_IPADD) return {};
  const auto* const string = static_cast<const ASN1_STRING*>(value);
  const std::string_view bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                               static_cast<std::size_t>(ASN1_STRING_length(string)));
  if (kind == GEN_IPADD) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
    if ((bytes.size() != 4 && bytes.size() != 16) ||
        ::inet_ntop(family, bytes.data(), text.data(), text.size()) == nullptr)
      return {};
    return "IP:" + std::string(text.data());
  }
  for (const char c : bytes) {
    if (c <= ' ' || c > '~') return {};
  }
  return (kind == GEN_DNS ? "DNS:" : kind == GEN_URI ? "URI:" : "email:") + std::string(bytes);
}

/// That of the peer, if it was asked for one, has shown one that was verified, and that is still in date.
[[nodiscard]] inline std::optional<ClientCertificate> verified_certificate(const SSL* tls) {
  if (tls == nullptr || SSL_is_server(tls) == 0 || (SSL_get_verify_mode(tls) & SSL_VERIFY_PEER) == 0)
    return std::nullopt;
  X509* const shown = SSL_get_verify_result(tls) == X509_V_OK ? SSL_get0_peer_certificate(tls) : nullptr;
  std::tm end{};
  if (shown == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(shown), &end) != 1) return std::nullopt;
  ClientCertificate certificate;
  const std::chrono::seconds seconds(::timegm(&end));
  const auto latest = std::chrono::duration_cast<std::chrono::seconds>(WallTime::max().time_since_epoch());
  certificate.expires_at = seconds < latest ? WallTime(seconds) : WallTime::max();
  if (certificate.expires_at <= std::chrono::system_clock::now()) return std::nullopt;
  certificate.subject = text_of(X509_get_subject_name(shown));
  certificate.issuer = text_of(X509_get_issuer_name(shown));
  const std::unique_ptr<GENERAL_NAMES, FreeTls> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(shown, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {  // -1: there are none
    std::string name = text_of(*sk_GENERAL_NAME_value(names.get(), i));
    if (!name.empty()) certificate.alt_names.push_back(std::move(name));
  }
  return certificate;
}

/// What session tickets are encrypted with (RFC 5077, 4). Any thread.
class TicketKeys {
 public:
  using Clock = TimePoint (*)();
  /// How long a key makes tickets; as long again it reads those it has made.
  static constexpr std::chrono::hours period{2};

  struct Key {
    std::array<unsigned char, 16> name{};
    std::array<unsigned char, 32> cipher{};
    std::array<unsigned char, 32> mac{};
    TimePoint since{};
  };

  explicit TicketKeys(Clock now) : now_(now) {}
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;
  ~TicketKeys() { OPENSSL_cleanse(&keys_, sizeof keys_); }

  /// The one for new tickets; none: the system gives no random bytes.
  [[nodiscard]] std::optional<Key> newest() {
    const CheckedLock lock(mutex_);
    const TimePoint now = now_();
    if (keys_[0].since != TimePoint{} && now - keys_[0].since < period) return keys_[0];
    Key made;
    if (RAND_bytes(made.name.data(), static_cast<int>(made.name.size())) != 1 ||
        RAND_priv_bytes(made.cipher.data(), static_cast<int>(made.cipher.size())) != 1 ||
        RAND_priv_bytes(made.mac.data(), static_cast<int>(made.mac.size())) != 1) {
      return std::nullopt;
    }
    made.since = now;
    keys_[1] = keys_[0];
    keys_[0] = made;
    return made;
  }
  /// The one of this name, as long as it is good.
  [[nodiscard]] std::optional<Key> find(const unsigned char* name) {
    const CheckedLock lock(mutex_);
    for (const Key& key : keys_) {
      if (key.since == TimePoint{} || now_() - key.since >= 2 * period) continue;
      if (std::equal(key.name.begin(), key.name.end(), name)) return key;
    }
    return std::nullopt;
  }

 private:
  const Clock now_;
  CheckedMutex mutex_;
  std::array<Key, 2> keys_ MUSTER_GUARDED_BY(mutex_);  // the newest first
};

/// A certificate and its key, and how TLS is spoken with it.
class TlsContext {
 public:
  /// Throws std::runtime_error that names the file, std::invalid_argument for ciphers.
  explicit TlsContext(const ListenerOptions& options, TicketKeys::Clock now = std::chrono::steady_clock::now)
      : options_(options), tickets_(now) {
    load();
  }

  /// Reads the files: from now on what is in them; sockets that are wrapped keep what they have. Throws as above, and then
  /// has changed nothing. Any thread.
  void load() {
    std::unique_ptr<SSL_CTX, FreeTls> context(SSL_CTX_new(TLS_server_method()));
    if (!context) throw std::bad_alloc();
    SSL_CTX_set_min_proto_version(context.get(),
                                  options_.tls_min_version == TlsVersion::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(context.get(),
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context.get(), tls_mode);
    set_ciphers(context.get());
    set_tickets(context.get());
    set_certificate(context.get());
    set_client_ca(context.get());
    const CheckedLock lock(mutex_);
    context_.swap(context);
  }

  /// The TLS layer of one socket; none when memory is short.
  [[nodiscard]] Tls wrap(int descriptor) const {
    Tls tls;
    {
      const CheckedLock lock(mutex_);
      tls.reset(SSL_new(context_.get()));
    }
    TlsBio bio = tls ? SocketBio::make(descriptor) : nullptr;
    if (!bio) return nullptr;
    SSL_set_bio(tls.get(), bio.get(), bio.get());
    (void)bio.release();
    SSL_set_accept_state(tls.get());
    return tls;
  }

 private:
  /// OpenSSL leaves out of a list what it does not know: a slip would go unseen, or leave what nobody meant.
  void set_ciphers(SSL_CTX* context) const {
    const auto each = [](const std::string& list, auto check) {
      constexpr const char* separators = ":, ;";
      for (std::size_t at = list.find_first_not_of(separators); at != std::string::npos;) {
        const std::size_t end = std::min(list.find_first_of(separators, at), list.size());
        check(list.substr(at, end - at));
        at = list.find_first_not_of(separators, end);
      }
    };
    const auto require = [](bool known, const char* option, const std::string& name) {
      ERR_clear_error();
      if (!known)
        throw std::invalid_argument("websocketpp listener: " + std::string(option) + ": OpenSSL has no \"" + name +
                                    "\"");
    };
    if (const std::string& list = options_.tls_ciphers; !list.empty()) {
      each(list, [&](const std::string& name) {
        const bool is_operator = std::string_view("!-+@").find(name.front()) != std::string_view::npos;
        require(is_operator || SSL_CTX_set_cipher_list(context, name.c_str()) == 1, "tls_ciphers", name);
      });
      require(SSL_CTX_set_cipher_list(context, list.c_str()) == 1, "tls_ciphers", list);
    }
    if (const std::string& list = options_.tls_ciphersuites; !list.empty()) {
      require(list.find_first_of(", ;") == std::string::npos && SSL_CTX_set_ciphersuites(context, list.c_str()) == 1,
              "tls_ciphersuites", list);
      const STACK_OF(SSL_CIPHER)* const set = SSL_CTX_get_ciphers(context);
      each(list, [&](const std::string& name) {
        bool known = false;
        for (int i = 0; i < sk_SSL_CIPHER_num(set); ++i)
          known |= SSL_CIPHER_get_name(sk_SSL_CIPHER_value(set, i)) == name;
        require(known, "tls_ciphersuites", name);
      });
    }
  }

  void set_tickets(SSL_CTX* context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, options_.tls_tickets);
    if (options_.tls_tickets == 0) {
      SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
      return;
    }
    SSL_CTX_set_timeout(context, std::chrono::seconds(TicketKeys::period).count());
    SSL_CTX_set_app_data(context, &tickets_);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, [](SSL* tls, unsigned char* name, unsigned char* iv,
                                                     EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int makes) {
      auto& keys = *static_cast<TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls)));
      std::optional<TicketKeys::Key> newest = keys.newest();
      std::optional<TicketKeys::Key> key = makes != 0 ? newest : keys.find(name);
      if (!key) return makes != 0 ? -1 : 0;  // 0: as if there were no ticket
      const bool is_old = !newest || newest->name != key->name;
      bool well = true;
      if (makes != 0) {
        std::copy(key->name.begin(), key->name.end(), name);
        well = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1;
      }
      char digest[] = "SHA256";
      const OSSL_PARAM parameters[] = {
          OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac.data(), key->mac.size()),
          OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
      well = well && EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher.data(), iv, makes) == 1 &&
             EVP_MAC_CTX_set_params(mac, parameters) == 1;
      OPENSSL_cleanse(&*key, sizeof *key);
      if (newest) OPENSSL_cleanse(&*newest, sizeof *newest);
      if (!well) return -1;
      // 2: with a new ticket. Those of TLS 1.3 are for one connection each.
      return makes == 0 && (is_old || SSL_version(tls) >= TLS1_3_VERSION) ? 2 : 1;
    });
  }

  void set_certificate(SSL_CTX* context) const {
    const std::string& certificate_file = options_.tls_certificate_file;
    const std::string& key_file = options_.tls_key_file;
    must_open(certificate_file, "TLS certificate ");
    must_open(key_file, "TLS key ");
    // Nobody is there to be asked: without this OpenSSL would wait for a passphrase on the terminal.
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb_userdata(context, &encrypted);
    SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void* asked) {
      *static_cast<bool*>(asked) = true;
      return 0;
    });
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, certificate_file.c_str()) != 1) {
      fail("TLS certificate " + certificate_file);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
      if (encrypted) {
        throw std::runtime_error("TLS key " + key_file +
                                 " is encrypted, and nobody is there to be asked for its passphrase: "
                                 "decrypt it (openssl pkey -in " +
                                 key_file + " -out plain.pem), and let nobody else read it");
      }
      // Of another kind than the certificate's, or of the same kind and not its own.
      const int reason = ERR_GET_REASON(ERR_peek_error());
      const bool strange = reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH;
      fail("TLS key " + key_file + (strange ? " does not belong to certificate " + certificate_file : ""));
    }
    SSL_CTX_set_default_passwd_cb(context, nullptr);
    SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  }

  void set_client_ca(SSL_CTX* context) const {
    const std::string& file = options_.tls_client_ca_file;
    if (file.empty()) return;
    must_open(file, "TLS client CA ");
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const TlsBio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    ERR_clear_error();
    std::size_t count = 0;
    for (;; ++count) {
      const std::unique_ptr<X509, FreeTls> ca(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
      if (!ca) break;
      if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get()) != 1 ||
          SSL_CTX_add_client_CA(context, ca.get()) != 1) {
        fail("TLS client CA " + file);
      }
    }
    if (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) fail("TLS client CA " + file);
    ERR_clear_error();
    SSL_CTX_set_verify(
        context, SSL_VERIFY_PEER | (options_.tls_client_certificate_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        nullptr);
    // A stranger's chain is held until it is checked.
    SSL_CTX_set_max_cert_list(context, 32 * 1024);
    // What one set of CAs has verified, another has not: a ticket has its context, and is none in another.
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1 ||
        SSL_CTX_set_session_id_context(context, digest.data(), size) != 1) {
      throw std::bad_alloc();
    }
    // Nor is a certificate verified again, whose end has come in between.
    SSL_CTX_set_session_ticket_cb(
        context, nullptr,
        [](SSL*, SSL_SESSION* session, const unsigned char*, std::size_t, SSL_TICKET_STATUS status, void*) {
          X509* const peer = session != nullptr ? SSL_SESSION_get0_peer(session) : nullptr;
          const bool ended = peer != nullptr && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0;
          if (status == SSL_TICKET_SUCCESS && !ended) return static_cast<int>(SSL_TICKET_RETURN_USE);
          if (status == SSL_TICKET_SUCCESS_RENEW && !ended) return static_cast<int>(SSL_TICKET_RETURN_USE_RENEW);
          return static_cast<int>(SSL_TICKET_RETURN_IGNORE_RENEW);
        },
        nullptr);
  }

  static void must_open(const std::string& file, const char* what) {
    errno = 0;
    if (!std::ifstream(file))
      throw std::runtime_error(what + file + " cannot be read: " + std::generic_category().message(errno));
  }
  [[noreturn]] static void fail(const std::string& what) {
    const unsigned long code = ERR_get_error();
    const char* why = code != 0 ? ERR_reason_error_string(code) : nullptr;
    throw std::runtime_error(what + ": " + (why != nullptr ? why : "cannot be used"));
  }

  const ListenerOptions& options_;  // the listener's, which has this
  TicketKeys tickets_;
  mutable CheckedMutex mutex_;
  std::unique_ptr<SSL_CTX, FreeTls> context_ MUSTER_GUARDED_BY(mutex_);  // sockets share it
};

}  // namespace detail
}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
