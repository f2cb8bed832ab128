// What was compressed (RFC 7692) without a context that is taken over: each message for itself.
#pragma once

#include <zlib.h>

#include <map>
#include <string>
#include <string_view>

namespace muster::bench {

class Inflater {
 public:
  Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater();

  /// The text of a message, valid until the next call. Many clients get the same one: it is inflated for the first of
  /// them. Ends the program where it cannot be.
  [[nodiscard]] std::string_view text_of(std::string_view compressed);

 private:
  [[nodiscard]] std::string inflated(std::string_view compressed);

  z_stream stream_{};
  std::map<std::string, std::string, std::less<>> latest_;
};

}  // namespace muster::bench
