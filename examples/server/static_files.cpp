#include "static_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace muster_server {
namespace {

namespace fs = std::filesystem;

std::string_view content_type(const fs::path& file) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 21> types{{
      {".html", "text/html; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".mjs", "text/javascript; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".json", "application/json"},
      {".map", "application/json"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"},
      {".webp", "image/webp"},
      {".gif", "image/gif"},
      {".avif", "image/avif"},
      {".ico", "image/x-icon"},
      {".mp4", "video/mp4"},
      {".webm", "video/webm"},
      {".wasm", "application/wasm"},
      {".woff2", "font/woff2"},
      {".txt", "text/plain; charset=utf-8"},
      {".md", "text/plain; charset=utf-8"},
      {".webmanifest", "application/manifest+json"},
  }};
  std::string extension = file.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto found =
      std::find_if(types.begin(), types.end(), [&extension](const auto& type) { return type.first == extension; });
  return found == types.end() ? "application/octet-stream" : found->second;
}

/// RFC 3986, 2.1. Nothing for a broken escape.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      decoded.push_back(text[at]);
      continue;
    }
    unsigned value = 0;
    const char* const digits = text.data() + at + 1;
    if (text.size() - at < 3 || std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) return std::nullopt;
    decoded.push_back(static_cast<char>(value));
    at += 2;
  }
  return decoded;
}

/// A name that can only be that of a file in the directory at hand.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.front() != '.' && std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

bool is_inside(const fs::path& file, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), file.begin(), file.end()).first == root.end();
}

/// Closed with its last reader.
class Descriptor {
 public:
  explicit Descriptor(const fs::path& file)
      : value_(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  [[nodiscard]] int get() const { return value_; }

 private:
  const int value_;
};

muster::websocketpp::BodySource source_of(std::shared_ptr<const Descriptor> file) {
  return [file = std::move(file), at = off_t{0}](char* to, std::size_t size) mutable {
    ssize_t got = 0;
    do got = ::pread(file->get(), to, size, at);
    while (got < 0 && errno == EINTR);
    at += std::max<ssize_t>(got, 0);
    return static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  };
}

}  // namespace

StaticFiles::StaticFiles(const fs::path& directory) {
  std::error_code error;
  root_ = fs::canonical(directory, error);
  if (!error && !fs::is_directory(root_, error)) error = std::make_error_code(std::errc::not_a_directory);
  if (!error) (void)fs::directory_iterator(root_, error);
  if (error) throw std::runtime_error("--static " + directory.string() + ": " + error.message());
}

std::variant<StaticFile, NoFile> StaticFiles::find(std::string_view url_path) const {
  if (url_path.empty() || url_path.front() != '/') return NoFile::nothing;
  fs::path file = root_;
  std::string_view rest = url_path;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(segment.size());
    if (segment.empty() && rest.empty()) {
      file /= "index.html";
      break;
    }
    // Decoded after the split, so that an encoded slash stays part of a name, which is then refused.
    const auto name = percent_decoded(segment);
    if (!name || !is_plain_name(*name)) return NoFile::nothing;
    file /= *name;
  }

  std::error_code error;
  file = fs::canonical(file, error);
  if (error || !is_inside(file, root_)) return NoFile::nothing;
  if (fs::is_directory(file, error)) {
    return fs::is_regular_file(file / "index.html", error) ? NoFile::directory : NoFile::nothing;
  }
  auto open = std::make_shared<const Descriptor>(file);
  if (open->get() < 0) return errno == EMFILE || errno == ENFILE ? NoFile::busy : NoFile::nothing;
  struct stat status {};
  if (::fstat(open->get(), &status) != 0 || !S_ISREG(status.st_mode)) return NoFile::nothing;
  return StaticFile{std::string(content_type(file)), static_cast<std::uint64_t>(status.st_size),
                    source_of(std::move(open))};
}

}  // namespace muster_server
