// --static: the files of a directory, and nothing beside it.
#include "server/static_files.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/catch.hpp"
#include "text_matchers.hpp"

namespace fs = std::filesystem;
using muster::test::ContainsSubstring;
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

}  // namespace

TEST_CASE("files are served with their types, index.html at a slash", "[static]") {
  const Site site;
  const StaticFiles files(site.root());
  const auto is = [&files](const char* path, const char* type, const char* bytes) {
    INFO(path);
    const auto file = files.find(path);
    REQUIRE(file);
    CHECK(file->content_type == type);
    CHECK(file->bytes == bytes);
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
                                 "/sub",
                                 "/nothing",
                                 "/app.js/",
                                 "/sub//index.html",
                                 "*",
                                 "http://127.0.0.1/index.html"}) {
    INFO(path);
    CHECK_FALSE(files.find(path));
  }
  CHECK_FALSE(files.find("/" + std::string(100000, 'a')));
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep += "/sub";
  CHECK_FALSE(files.find(deep));
}

TEST_CASE("a file too large, or that is no file, is not served", "[static]") {
  const Site site;
  const StaticFiles files(site.root());
  Site::write(site.root() / "large", "");
  fs::resize_file(site.root() / "large", StaticFiles::largest + 1);
  CHECK_FALSE(files.find("/large"));
  fs::resize_file(site.root() / "large", StaticFiles::largest);
  CHECK(files.find("/large"));
}

TEST_CASE("what is not a directory is refused by name", "[static]") {
  const Site site;
  CHECK_THROWS_WITH(StaticFiles("/no/such/folder"), ContainsSubstring("/no/such/folder"));
  CHECK_THROWS_WITH(StaticFiles(site.root() / "app.js"), ContainsSubstring("app.js"));
}
