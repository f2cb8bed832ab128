// --static: the files of a directory, and nothing beside it.
#include "server/static_files.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <variant>

#include "support/catch.hpp"
#include "text_matchers.hpp"

namespace fs = std::filesystem;
using muster::test::ContainsSubstring;
using muster_server::NoFile;
using muster_server::StaticFile;
using muster_server::StaticFiles;

namespace {

/// A directory with a page in it and secrets around it.
class Site {
 public:
  Site() {
    fs::create_directories(root() / "sub" / "deeper");
    fs::create_directories(base_ / "site-secret");
    write(root() / "index.html", "<p>home</p>");
    write(root() / "app.js", "run()");
    write(root() / "two words.txt", "spaced");
    write(root() / "sub" / "index.html", "<p>sub</p>");
    write(root() / ".hidden", "secret");
    write(base_ / "secret.txt", "secret");
    write(base_ / "site-secret" / "secret.txt", "secret");
    fs::create_symlink("app.js", root() / "inside.js");
    fs::create_symlink(base_ / "secret.txt", root() / "outside.txt");
    fs::create_directory_symlink(base_ / "site-secret", root() / "outside");
  }
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;
  ~Site() { fs::remove_all(base_); }

  [[nodiscard]] fs::path root() const { return base_ / "site"; }
  static void write(const fs::path& file, const std::string& bytes) { std::ofstream(file, std::ios::binary) << bytes; }

 private:
  fs::path base_ = fs::temp_directory_path() / ("muster-static-" + std::to_string(getpid()));
};

bool is_missing(const StaticFiles& files, std::string_view path) {
  const auto found = files.find(path);
  return std::holds_alternative<NoFile>(found) && std::get<NoFile>(found) == NoFile::nothing;
}

}  // namespace

TEST_CASE("files are served with their types, index.html at a slash", "[static]") {
  const Site site;
  const StaticFiles files(site.root());
  const auto is = [&files](const char* path, const char* type, const char* bytes) {
    INFO(path);
    const auto found = files.find(path);
    const auto* file = std::get_if<StaticFile>(&found);
    REQUIRE(file);
    CHECK(file->content_type == type);
    CHECK(file->size == std::string(bytes).size());
    std::string read;
    std::array<char, 3> piece{};
    for (std::size_t n = 0; (n = file->source(piece.data(), piece.size())) != 0;) read.append(piece.data(), n);
    CHECK(read == bytes);
  };
  is("/", "text/html; charset=utf-8", "<p>home</p>");
  is("/index.html", "text/html; charset=utf-8", "<p>home</p>");
  is("/app.js", "text/javascript; charset=utf-8", "run()");
  is("/%61pp.js", "text/javascript; charset=utf-8", "run()");
  is("/two%20words.txt", "text/plain; charset=utf-8", "spaced");
  is("/sub/", "text/html; charset=utf-8", "<p>sub</p>");
  is("/inside.js", "text/javascript; charset=utf-8", "run()");
  for (const auto& [name, type] : {std::pair{"a.css", "text/css; charset=utf-8"},
                                   {"a.svg", "image/svg+xml"},
                                   {"a.png", "image/png"},
                                   {"a.ico", "image/x-icon"},
                                   {"a.gif", "image/gif"},
                                   {"a.wasm", "application/wasm"},
                                   {"a.woff2", "font/woff2"},
                                   {"a.mp4", "video/mp4"},
                                   {"A.PNG", "image/png"},
                                   {"B.Html", "text/html; charset=utf-8"},
                                   {"a", "application/octet-stream"}}) {
    Site::write(site.root() / name, "");
    is(("/" + std::string(name)).c_str(), type, "");
  }
}

TEST_CASE("nothing outside the directory is served, however it is spelled", "[static]") {
  const Site site;
  const StaticFiles files(site.root());
  for (const std::string path : {"",
                                 "index.html",
                                 "/..",
                                 "/../secret.txt",
                                 "/./index.html",
                                 "/sub/../index.html",
                                 "/sub/../../secret.txt",
                                 "/%2e%2e/secret.txt",
                                 "/%2E%2e/secret.txt",
                                 "/..%2fsecret.txt",
                                 "/..%5csecret.txt",
                                 "/..\\secret.txt",
                                 "/sub%2findex.html",
                                 "//index.html",
                                 "//etc/passwd",
                                 "/%2fetc/passwd",
                                 "/../site-secret/secret.txt",
                                 "/outside.txt",
                                 "/outside/secret.txt",
                                 "/.hidden",
                                 "/index.html%00.js",
                                 "/index.html%00",
                                 "/index.html%0a",
                                 "/%",
                                 "/%2",
                                 "/%zz",
                                 "/%252e%252e/secret.txt",
                                 "/sub/deeper",
                                 "/nothing",
                                 "/app.js/",
                                 "/sub//index.html",
                                 "*",
                                 "http://127.0.0.1/index.html"}) {
    INFO(path);
    CHECK(is_missing(files, path));
  }
  CHECK(is_missing(files, "/" + std::string(100000, 'a')));
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep += "/sub";
  CHECK(is_missing(files, deep));
}

TEST_CASE("what is no file is not served, nor does it hold anybody up", "[static]") {
  const Site site;
  const StaticFiles files(site.root());
  REQUIRE(mkfifo((site.root() / "fifo").c_str(), 0600) == 0);
  CHECK(is_missing(files, "/fifo"));
}

TEST_CASE("a directory that has a page is told from nothing", "[static]") {
  const Site site;
  const StaticFiles files(site.root());
  CHECK(std::get<NoFile>(files.find("/sub")) == NoFile::directory);
  CHECK(std::get<NoFile>(files.find("/s%75b")) == NoFile::directory);
  CHECK(std::get<NoFile>(files.find("/outside")) == NoFile::nothing);
}

TEST_CASE("without a descriptor a file is not gone", "[static]") {
  const Site site;
  const StaticFiles files(site.root());
  // Sanitizers need descriptors of their own for what they have not looked at before.
  REQUIRE(std::holds_alternative<StaticFile>(files.find("/app.js")));
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
  rlimit none = old;
  const int highest = dup(0);
  none.rlim_cur = static_cast<rlim_t>(highest);
  close(highest);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  const auto found = files.find("/app.js");
  REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
  REQUIRE(std::holds_alternative<NoFile>(found));
  CHECK(std::get<NoFile>(found) == NoFile::busy);
  CHECK(std::holds_alternative<StaticFile>(files.find("/app.js")));
}

TEST_CASE("what is not a directory is refused by name", "[static]") {
  const Site site;
  CHECK_THROWS_WITH(StaticFiles("/no/such/folder"), ContainsSubstring("/no/such/folder"));
  CHECK_THROWS_WITH(StaticFiles(site.root() / "app.js"), ContainsSubstring("app.js"));
}
