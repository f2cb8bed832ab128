#include "load_options.hpp"

#include <CLI/CLI.hpp>

namespace muster::bench {

LoadOptions read_load_options(int argc, char** argv) {
  LoadOptions options;
  CLI::App app(
      "Loads a WebSocket server on this machine and prints one JSON object. Exits with 1 if anything was lost.");
  app.add_option("--port", options.port, "of the server, on 127.0.0.1")->required();
  app.add_option("--pid", options.server_process, "the server's process: CPU and memory")->required();
  app.add_option("--path", options.path, "of the request; %r: number of the room, %i: of the connection");
  app.add_option("--header", options.headers, "line of the request, e.g. \"Authorization: Bearer t%i\"; repeatable");
  app.add_option("--hello", options.hello, "first message of every connection; %r, %i");
  app.add_option("--publish", options.publish, "what a publisher sends; %d: the payload, %n: its number, %r, %i");
  app.add_option("--ready", options.ready,
                 "text of the message that says a connection is ready; empty: the upgrade does");
  app.add_flag("--tls", options.tls, "over TLS, believing any certificate; who connects again resumes its session");
  app.add_flag("--deflate", options.deflate, "insist on permessage-deflate, each message compressed for itself");
  app.add_option("--subscribers", options.subscribers, "spread evenly over the rooms");
  app.add_option("--publishers", options.publishers, "beside the subscribers; 0: the subscribers publish, in turn");
  app.add_option("--rooms", options.rooms, "how many")->check(CLI::PositiveNumber);
  app.add_option("--connecting", options.connecting, "connections on their way at once")->check(CLI::PositiveNumber);
  app.add_option("--stuck", options.stuck, "subscribers that stop reading once all are connected");
  app.add_option("--line", options.line, "bytes a second that each subscriber reads; 0: as they come");
  app.add_option("--memory-at", options.memory_at, "numbers of connections at which to read the server's memory")
      ->delimiter(',');
  app.add_option("--size", options.size, "bytes of a payload");
  app.add_flag("--json", options.json, "the payload is an object of JSON rather than the inside of a string");
  app.add_option("--seconds", options.seconds, "for which messages are sent");
  app.add_option("--messages", options.messages, "after which sending stops, if that comes first; 0: no limit");
  app.add_option("--window", options.window, "messages outstanding, where there is no --rate")
      ->check(CLI::PositiveNumber);
  app.add_option("--rate", options.rate, "messages a second, from all publishers together");
  app.add_option("--burst", options.burst_seconds, "seconds for which to send at that rate, then to pause as long");
  app.add_flag("--conflated", options.conflated,
               "newer messages may replace older ones on the way: nothing has to arrive");
  app.add_option("--last", options.last_seconds, "latency of the last so many seconds of sending only");
  app.add_option("--hold", options.hold_seconds, "seconds to hold the connections, then to close them; sends nothing");
  app.add_option("--storm", options.storm, "instead of sending: a share of the clients leave, or are cut and reconnect")
      ->check(CLI::IsMember({"leave", "reconnect"}));
  app.add_option("--storm-share", options.storm_share, "of all connections")->check(CLI::Range(0.0, 1.0));
  app.add_option("--watch", options.watch_seconds,
                 "seconds after all have connected, and after a storm, that count too");
  app.add_flag("--spin", options.spin, "never sleep: whoever sends to a sleeping process pays for waking it");
  app.add_option("--deadline", options.deadline_seconds, "seconds without any progress after which to give up");
  try {
    app.parse(argc, argv);
    if (options.stuck >= options.subscribers) throw CLI::ValidationError("--stuck", "leaves no subscriber");
    if (options.tls && (options.stuck > 0 || options.line > 0)) {
      throw CLI::ValidationError("--tls", "is not for --stuck and --line, which are about sockets");
    }
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  return options;
}

}  // namespace muster::bench
