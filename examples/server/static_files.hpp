// The files of one directory, and nothing beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace muster_server {

struct StaticFile {
  std::string content_type;
  std::string bytes;
};

class StaticFiles {
 public:
  /// Throws std::runtime_error when `directory` is not a directory that can be read.
  explicit StaticFiles(const std::filesystem::path& directory);

  /// What is at the path of a URL, percent-encoded as it came: a regular file in the directory, `index.html` for a
  /// path that ends in a slash. Nothing for a path that leaves the directory, be it by `..`, by an encoded slash or
  /// through a symbolic link, for names that begin with a dot, and for files above `largest`.
  ///
  /// Reads the file in the calling thread each time: right for the pages of a demo, whose files are small and in the
  /// page cache. A site of its own belongs behind a web server.
  [[nodiscard]] std::optional<StaticFile> find(std::string_view url_path) const;

  static constexpr std::uintmax_t largest = 16 * 1024 * 1024;

 private:
  std::filesystem::path root_;
};

}  // namespace muster_server
