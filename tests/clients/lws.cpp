// libwebsockets, of C. It shows an HTTP status only to who asks for the header while it is refused.
#include <libwebsockets.h>

#include <cstdint>
#include <cstring>
#include <regex>
#include <string>

#include "script.hpp"

struct Client {
  Steps steps = read_steps();
  std::size_t at = 0;
  Seen seen;
  std::string part;
  bool open = false;
  bool done = false;
};

/// Does what can be done now. Less than 0: the connection is to end.
int go(Client& client, lws* socket) {
  while (client.at < client.steps.size()) {
    const auto& [verb, text] = client.steps[client.at];
    if (verb == "send") {
      if (lws_send_pipe_choked(socket) != 0) {
        lws_callback_on_writable(socket);
        return 0;
      }
      std::string bytes(LWS_PRE, '\0');
      bytes += text;
      auto* begin = reinterpret_cast<unsigned char*>(bytes.data()) + LWS_PRE;
      if (lws_write(socket, begin, text.size(), LWS_WRITE_TEXT) < 0) return -1;
    } else if (verb == "await") {
      if (!client.seen.has(text)) return 0;
    } else if (verb == "closed") {
      return 0;
    } else if (verb == "close") {
      ++client.at;
      const std::size_t space = text.find(' ');
      std::string reason = space == text.npos ? "" : text.substr(space + 1);
      if (!text.empty()) {
        lws_close_reason(socket, static_cast<lws_close_status>(std::stoi(text)),
                         reinterpret_cast<unsigned char*>(reason.data()), reason.size());
      }
      return -1;
    }
    ++client.at;
  }
  return 0;
}

int happened(lws* socket, lws_callback_reasons what, void*, void* in, std::size_t size) {
  auto* const client = static_cast<Client*>(lws_context_user(lws_get_context(socket)));
  switch (what) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: {
      auto** const end = static_cast<unsigned char**>(in);
      const std::string bearer = asked(client->steps, "bearer");
      const std::string value = "Bearer " + bearer;
      return !bearer.empty() && lws_add_http_header_by_token(socket, WSI_TOKEN_HTTP_AUTHORIZATION,
                                                             reinterpret_cast<const unsigned char*>(value.data()),
                                                             static_cast<int>(value.size()), end, *end + size) != 0
                 ? -1
                 : 0;
    }
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH: {
      char protocol[128] = "";
      lws_hdr_copy(socket, protocol, sizeof protocol, WSI_TOKEN_PROTOCOL);
      client->seen.protocol = protocol;
      return 0;
    }
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
      client->open = true;
      return go(*client, socket);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
      return go(*client, socket);
    case LWS_CALLBACK_CLIENT_RECEIVE:
      client->part.append(static_cast<const char*>(in), size);
      if (lws_is_final_fragment(socket) == 0 || lws_remaining_packet_payload(socket) != 0) return 0;
      client->seen.messages.push_back(std::move(client->part));
      client->part.clear();
      return go(*client, socket);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: {
      const auto* const bytes = static_cast<const unsigned char*>(in);
      client->seen.code = size < 2 ? 1005 : bytes[0] << 8 | bytes[1];
      if (size > 2) client->seen.reason.assign(reinterpret_cast<const char*>(bytes) + 2, size - 2);
      return 0;
    }
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
      client->seen.status = static_cast<int>(lws_http_client_http_response(socket));
      client->done = true;
      return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
      client->done = true;
      return 0;
    default:
      return 0;
  }
}

int main(int, char** argv) {
  std::cmatch url;
  if (!std::regex_match(argv[1], url, std::regex("ws://([^:/]+):(\\d+)(/.*)"))) return 2;
  lws_set_log_level(0, nullptr);
  Client client;
  const lws_protocols protocols[] = {{"any", happened, 0, 64 * 1024, 0, nullptr, 0},
                                     {nullptr, nullptr, 0, 0, 0, nullptr, 0}};
  lws_context_creation_info options{};
  options.port = CONTEXT_PORT_NO_LISTEN;
  options.protocols = protocols;
  options.user = &client;
  options.gid = static_cast<gid_t>(-1);
  options.uid = static_cast<uid_t>(-1);
  lws_context* const context = lws_create_context(&options);
  const std::string address = url[1], port = url[2], path = url[3], host = address + ":" + port;
  const std::string offer = std::regex_replace(asked(client.steps, "offer"), std::regex(","), ", ");
  lws_client_connect_info how{};
  how.context = context;
  how.address = address.c_str();
  how.port = std::stoi(port);
  how.path = path.c_str();
  how.host = host.c_str();
  how.protocol = offer.empty() ? nullptr : offer.c_str();
  how.local_protocol_name = "any";
  if (lws_client_connect_via_info(&how) == nullptr) client.done = true;
  while (!client.done && lws_service(context, 0) >= 0) {
  }
  lws_context_destroy(context);
  tell(client.seen);
}
