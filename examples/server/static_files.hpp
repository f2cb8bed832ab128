// The files of one directory, and nothing beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <muster/transports/websocketpp.hpp>
#include <string>
#include <string_view>
#include <variant>

namespace muster_server {

/// A file that is open, and gives its bytes from the beginning on, to one reader.
struct StaticFile {
  std::string content_type;
  std::uint64_t size = 0;
  muster::websocketpp::BodySource source;
};

enum class NoFile {
  nothing,    ///< none is there, or none that is served
  directory,  ///< it has an index.html, and the path wants a slash at its end
  busy        ///< it cannot be opened now: there is no descriptor left
};

class StaticFiles {
 public:
  /// Throws std::runtime_error when `directory` is not a directory that can be read.
  explicit StaticFiles(const std::filesystem::path& directory);

  /// What is at the path of a URL, percent-encoded as it came: a regular file in the directory, `index.html` for a
  /// path that ends in a slash. Nothing for a path that leaves the directory, be it by `..`, by an encoded slash or
  /// through a symbolic link, and for names that begin with a dot.
  ///
  /// Opens and reads in the calling thread: right for the pages of a demo, whose files are in the page cache. A site of its
  /// own belongs behind a web server.
  [[nodiscard]] std::variant<StaticFile, NoFile> find(std::string_view url_path) const;

 private:
  std::filesystem::path root_;
};

}  // namespace muster_server
