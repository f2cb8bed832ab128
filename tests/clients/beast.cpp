// Boost.Beast, of C++: its blocking interface.
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <regex>
#include <string>

#include "script.hpp"

namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using Socket = websocket::stream<boost::asio::ip::tcp::socket>;

bool receive(Socket& socket, Seen& seen) {
  beast::flat_buffer buffer;
  beast::error_code error;
  socket.read(buffer, error);
  if (error == websocket::error::closed) {
    seen.code = socket.reason().code;
    seen.reason = socket.reason().reason.c_str();
    if (seen.code == 0) seen.code = websocket::close_code::no_status;
  }
  if (error) return false;
  seen.messages.push_back(beast::buffers_to_string(buffer.data()));
  return true;
}

void play(Socket& socket, const Steps& steps, Seen& seen) {
  for (const auto& [verb, text] : steps) {
    if (verb == "send") {
      beast::error_code error;
      socket.write(boost::asio::buffer(text), error);
      if (error) return;
    } else if (verb == "await") {
      while (!seen.has(text)) {
        if (!receive(socket, seen)) return;
      }
    } else if (verb == "close") {
      const std::size_t space = text.find(' ');
      beast::error_code error;
      socket.close(text.empty() ? websocket::close_reason()
                                : websocket::close_reason(static_cast<websocket::close_code>(std::stoi(text)),
                                                          space == text.npos ? "" : text.substr(space + 1)),
                   error);
      seen.code = socket.reason().code;
      seen.reason = socket.reason().reason.c_str();
      if (seen.code == 0) seen.code = websocket::close_code::no_status;
    } else if (verb == "closed") {
      while (receive(socket, seen)) {
      }
    }
  }
}

int main(int, char** argv) {
  std::cmatch url;
  if (!std::regex_match(argv[1], url, std::regex("ws://([^:/]+):(\\d+)(/.*)"))) return 2;
  const Steps steps = read_steps();
  boost::asio::io_context context;
  Socket socket(context);
  boost::asio::connect(socket.next_layer(),
                       boost::asio::ip::tcp::resolver(context).resolve(url[1].str(), url[2].str()));
  socket.read_message_max(0);
  websocket::permessage_deflate deflate;
  deflate.client_enable = true;
  socket.set_option(deflate);
  socket.set_option(websocket::stream_base::decorator([&](websocket::request_type& request) {
    const std::string offer = std::regex_replace(asked(steps, "offer"), std::regex(","), ", ");
    if (!offer.empty()) request.set(http::field::sec_websocket_protocol, offer);
    const std::string bearer = asked(steps, "bearer");
    if (!bearer.empty()) request.set(http::field::authorization, "Bearer " + bearer);
  }));
  Seen seen;
  websocket::response_type response;
  beast::error_code error;
  socket.handshake(response, url[1].str() + ":" + url[2].str(), url[3].str(), error);
  if (error) {
    seen.status = static_cast<int>(response.result_int());
  } else {
    seen.protocol = std::string(response[http::field::sec_websocket_protocol]);
    play(socket, steps, seen);
  }
  tell(seen);
}
