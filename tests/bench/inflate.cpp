#include "inflate.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace muster::bench {
namespace {

/// More than are on their way at once in any scenario.
constexpr std::size_t messages_kept = 256;

[[noreturn]] void fail_inflate(const char* what) {
  std::fprintf(stderr, "bench: a compressed message: %s\n", what);
  std::exit(EXIT_FAILURE);
}

}  // namespace

Inflater::Inflater() {
  if (::inflateInit2(&stream_, -MAX_WBITS) != Z_OK) fail_inflate("inflateInit2");
}

Inflater::~Inflater() { ::inflateEnd(&stream_); }

std::string_view Inflater::text_of(std::string_view compressed) {
  auto known = latest_.find(compressed);
  if (known == latest_.end()) {
    if (latest_.size() >= messages_kept) latest_.clear();
    known = latest_.emplace(compressed, inflated(compressed)).first;
  }
  return known->second;
}

std::string Inflater::inflated(std::string_view compressed) {
  std::string input(compressed);
  input.append("\x00\x00\xff\xff", 4);  // what the sender leaves out: RFC 7692, 7.2.2
  if (::inflateReset(&stream_) != Z_OK) fail_inflate("inflateReset");
  stream_.next_in = reinterpret_cast<Bytef*>(input.data());
  stream_.avail_in = static_cast<uInt>(input.size());
  std::string text;
  std::array<char, 16 * 1024> piece{};
  do {
    stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream_.avail_out = piece.size();
    const int result = ::inflate(&stream_, Z_SYNC_FLUSH);
    if (result != Z_OK && result != Z_BUF_ERROR && result != Z_STREAM_END) fail_inflate("not deflated");
    text.append(piece.data(), piece.size() - stream_.avail_out);
  } while (stream_.avail_out == 0);
  return text;
}

}  // namespace muster::bench
