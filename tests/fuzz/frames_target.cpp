// A peer's frames in whatever pieces: against a second reader, on after a fault, and on after a close of ours.

#include "fuzz/frame_script.hpp"
#include "fuzz/fuzz.hpp"
#include "fuzz/plain_frames.hpp"
#include "muster/transports/websocketpp/deflate.ipp"
#include "muster/transports/websocketpp/frames.ipp"

namespace muster::fuzz {
namespace {

using websocketpp::detail::Frames;
using websocketpp::detail::InboundMessage;
using websocketpp::detail::Readers;

/// What the reader says, as PlainFrames says it.
std::string described(const InboundMessage& message) {
  std::string said(1, static_cast<char>('0' + message.sent_as()));
  said.push_back(message.get_compressed() ? 'z' : ' ');
  std::string payload = message.get_payload();
  // The tail that a compressed message is followed by.
  if (message.get_compressed()) payload.resize(payload.size() - websocketpp::detail::deflate_tail.size());
  return said + payload;
}

/// Feeds it like a socket does, in pieces, each alone in memory.
class Feeder {
 public:
  Feeder(Frames& frames, std::size_t limit) : frames_(frames), limit_(limit), before_(held_bytes()) {}

  void feed(std::string_view bytes) {
    std::vector<char> piece(bytes.begin(), bytes.end());
    char* data = piece.data();
    std::size_t size = piece.size();
    while (size != 0 && !faulted_) {
      const Frames::Step step = frames_.read(data, size);
      must(step.used <= size && (step.used != 0 || step.error), "a reader goes forward, or says why not");
      must(!step.error || !step.message, "what is faulty is no message");
      data += step.used;
      size -= step.used;
      used_ += step.used;
      if (step.message) {
        messages_.push_back(described(*step.message));
        kept_ += 2 * messages_.back().capacity() + 2 * sizeof(std::string);
        must(step.message->get_payload().size() <= limit_ + limit_ / 256 + 128, "a message is within its limit");
      }
      faulted_ = static_cast<bool>(step.error);
    }
    at_most(held_bytes(), before_ + kept_ + bytes.size() + 3 * limit_ + 64 * 1024,
            "no more is held than a message may have");
    if (faulted_) stays_dead(bytes);
  }

  [[nodiscard]] bool faulted() const { return faulted_; }
  [[nodiscard]] std::size_t used() const { return used_; }
  [[nodiscard]] const std::vector<std::string>& messages() const { return messages_; }

 private:
  void stays_dead(std::string_view bytes) {
    for (std::string more : {std::string(bytes), test::close_frame(1000), test::text_frame("{}")}) {
      if (more.empty()) continue;
      const Frames::Step step = frames_.read(more.data(), more.size());
      must(step.error && step.used == 0 && !step.message, "a reader that failed reads no more");
      must(!frames_.skip_to_close(more.data(), more.size()), "and finds nothing");
    }
  }

  Frames& frames_;
  const std::size_t limit_;
  const std::size_t before_;
  std::size_t kept_ = 0;
  std::size_t used_ = 0;
  bool faulted_ = false;
  std::vector<std::string> messages_;
};

}  // namespace

/// Whether compressed and how much a message may have; three sizes of pieces; where we close; then the peer's frames.
void run(std::string_view input) {
  Choices choices(input.substr(0, 16 * 1024));
  const unsigned choice = choices.byte();
  const bool compressed = (choice & 1U) != 0;
  constexpr std::size_t limits[] = {125, 1000, 65'536, 70'000};
  const std::size_t limit = limits[(choice >> 1U) % 4];
  const std::size_t pieces[] = {1 + size_of(choices.byte()), 1 + size_of(choices.byte()), 1 + size_of(choices.byte())};
  const std::size_t closes_at = (choice & 8U) != 0 ? choices.number(2) : std::string::npos;
  const std::string stream = frames_from(choices);

  Readers readers;
  std::unique_ptr<Frames> lent = readers.lend(limit, compressed);
  Frames& frames = *lent;
  Feeder feeder(frames, limit);
  std::size_t at = 0;
  for (std::size_t i = 0; at < stream.size() && at < closes_at && !feeder.faulted(); ++i) {
    const std::size_t size = std::min({pieces[i % 3], stream.size() - at, closes_at - at});
    feeder.feed(std::string_view(stream).substr(at, size));
    at += size;
    if (!frames.at_rest()) continue;
    // Another peer's frames in between, read with other limits, are neither seen nor felt.
    readers.take_back(std::move(lent));
    lent = readers.lend(125, !compressed);
    std::string between("\x81\x85\0\0\0\0hello", 11);
    while (!between.empty()) between.erase(0, frames.read(between.data(), between.size()).used);
    readers.take_back(std::move(lent));
    lent = readers.lend(limit, compressed);
  }

  PlainFrames plain(limit, compressed);
  plain.read(std::string_view(stream).substr(0, at));
  must(plain.messages() == feeder.messages(), "both readers see the same messages");
  must(plain.faulted() == feeder.faulted(), "and the same fault");
  if (feeder.faulted() || closes_at == std::string::npos) return;

  bool found = false;
  for (std::size_t i = 0; at < stream.size() && !found; ++i) {
    const Alone piece(std::string_view(stream).substr(at, pieces[i % 3]));
    found = frames.skip_to_close(piece.view().data(), piece.view().size());
    at += piece.view().size();
  }
  must(found == PlainFrames::close_behind(stream, feeder.used()),
       "the peer's close frame is found, and nothing else is");
}

std::vector<std::string> seeds() { return frame_seeds(); }

}  // namespace muster::fuzz
