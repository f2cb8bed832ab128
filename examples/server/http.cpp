#include "http.hpp"

#include <string>
#include <utility>
#include <variant>

#include "metrics_text.hpp"

namespace muster_server {
namespace {

using muster::websocketpp::HttpRequest;
using muster::websocketpp::HttpResponse;

constexpr const char* websocket_path = "/ws";  // JsonProtocol's

HttpResponse plain(unsigned status, std::string text) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(text) + "\n";
  response.headers = {{"Cache-Control", "no-store"}};
  return response;
}

HttpResponse answer(const HttpRequest& request, muster::IConnectionManager& manager, const StaticFiles* files,
                    Serves serves) {
  const bool asks_options = request.method == "OPTIONS";
  if (request.method != "GET" && !asks_options) {
    HttpResponse response = plain(405, "Only GET, HEAD and OPTIONS");
    response.headers.emplace_back("Allow", "GET, HEAD, OPTIONS");
    return response;
  }
  // Load balancers ask by GET, HEAD or OPTIONS, as each is made.
  const bool has_health = serves != Serves::page;
  if (has_health && request.path == "/healthz") return plain(200, "ok");
  if (has_health && request.path == "/readyz")
    return manager.is_ready() ? plain(200, "ready") : plain(503, "going away");
  if (asks_options) {
    HttpResponse response = plain(204, "");
    response.headers.emplace_back("Allow", "GET, HEAD, OPTIONS");
    return response;
  }
  if (serves != Serves::health && request.path == websocket_path) {
    return plain(426, "A WebSocket is here, and there is no Upgrade header; a proxy may have removed it");
  }
  if (has_health && request.path == "/metrics") {
    HttpResponse response = plain(200, "");
    response.content_type = metrics_content_type;
    response.body = metrics_text(manager.metrics(), manager.is_ready());
    return response;
  }
  if (files == nullptr) return plain(404, "There is nothing here");
  auto found = files->find(request.path);
  if (auto* file = std::get_if<StaticFile>(&found)) {
    HttpResponse response;
    response.content_type = std::move(file->content_type);
    response.source = std::move(file->source);
    response.source_bytes = file->size;
    // A page that is being worked on is what the browser shows after a reload.
    response.headers = {{"Cache-Control", "no-cache"}};
    return response;
  }
  switch (std::get<NoFile>(found)) {
    case NoFile::directory: {
      HttpResponse response = plain(307, "It is one slash further");
      response.headers.emplace_back("Location",
                                    request.path + "/" + (request.query.empty() ? "" : "?" + request.query));
      return response;
    }
    case NoFile::busy: {
      HttpResponse response = plain(503, "There are too many open files");
      response.headers.emplace_back("Retry-After", "1");
      return response;
    }
    case NoFile::nothing:
      break;
  }
  return plain(404, "There is nothing here");
}

}  // namespace

muster::websocketpp::HttpHandler http_handler(std::shared_ptr<muster::IConnectionManager> manager,
                                              std::shared_ptr<const StaticFiles> files, Serves serves) {
  return [manager = std::move(manager), files = std::move(files), serves](const HttpRequest& request) {
    HttpResponse response = answer(request, *manager, files.get(), serves);
    // No guessing: a text file never becomes a script.
    response.headers.emplace_back("X-Content-Type-Options", "nosniff");
    return response;
  };
}

}  // namespace muster_server
