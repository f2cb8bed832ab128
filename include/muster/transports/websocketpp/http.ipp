// What handlers of plain HTTP are found by, and find.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "muster/path_pattern.hpp"
#include "muster/transports/websocketpp/request.ipp"
#include "muster/transports/websocketpp_http.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace websocketpp {

MUSTER_INLINE std::string_view HttpRequest::header(std::string_view name) const noexcept {
  for (const auto& [key, value] : headers) {
    if (detail::equal_ignoring_case(key, name)) return value;
  }
  return {};
}

MUSTER_INLINE std::string_view HttpRequest::operator[](std::string_view name) const noexcept {
  for (const auto& [key, value] : names) {
    if (key == name) return value;
  }
  return {};
}

MUSTER_INLINE HttpRoutes& HttpRoutes::add(std::string method, std::string path, HttpHandler handler) {
  return add(Route{std::move(method), std::move(path), std::move(handler), nullptr});
}

MUSTER_INLINE HttpRoutes& HttpRoutes::add(std::string method, std::string path, RespondingHttpHandler handler) {
  return add(Route{std::move(method), std::move(path), nullptr, std::move(handler)});
}

MUSTER_INLINE HttpRoutes& HttpRoutes::add(Route route) {
  const std::string whole = route.method + " " + route.path;
  std::string problem = muster::detail::problem_of_path(route.path);
  if (!detail::is_token(route.method)) {
    problem = "\"" + route.method + "\" is no method";
  } else if (route.method == "HEAD") {
    problem = "HEAD is answered by the handler of GET";
  } else if (!route.handler && !route.responding) {
    problem = "there is no handler";
  }
  for (const Route& before : routes_) {
    if (!problem.empty()) break;
    if (before.method == route.method && muster::detail::match_path(before.path, route.path))
      problem = before.method + " " + before.path + " was added before, and answers all of it";
  }
  if (!problem.empty()) throw std::invalid_argument("HTTP route " + whole + ": " + problem);
  routes_.push_back(std::move(route));
  return *this;
}

MUSTER_INLINE HttpRoutes::Found HttpRoutes::find(std::string_view method, std::string_view path) const {
  Found found;
  std::vector<std::string_view> methods;
  const auto allow = [&](std::string_view another) {
    if (std::find(methods.begin(), methods.end(), another) == methods.end()) methods.push_back(another);
  };
  for (const Route& route : routes_) {
    auto names = muster::detail::match_path(route.path, path);
    if (!names) continue;
    if (route.method == method) {
      found.route = &route;
      found.names = std::move(*names);
      return found;
    }
    allow(route.method);
    if (route.method == "GET") allow("HEAD");
  }
  if (methods.empty()) return found;
  allow("OPTIONS");
  for (const std::string_view another : methods) {
    found.allow.append(found.allow.empty() ? "" : ", ").append(another);
  }
  return found;
}

}  // namespace websocketpp
}  // namespace MUSTER_ABI
}  // namespace muster
