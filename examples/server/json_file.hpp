// JSON files that an operator writes: read as a stream, so that what is wrong is named with its line.
#pragma once

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

namespace muster_server {

/// What is wrong with a file, in one sentence that names the line, never a secret: error messages end up in logs.
struct FileProblem {
  std::string sentence;
};

/// Half a surrogate pair in an escape, which RapidJSON 1.1 takes when it is the second half: no text has it. Where it is;
/// npos: nowhere.
[[nodiscard]] inline std::size_t find_lone_surrogate(std::string_view json) {
  const auto unit = [json](std::size_t at) {
    unsigned value = 0;
    if (at < json.size() && json.substr(at, 2) == "\\u") {
      const char* const digits = json.data() + at + 2;
      (void)std::from_chars(digits, digits + std::min<std::size_t>(4, json.size() - at - 2), value, 16);
    }
    return value;
  };
  for (std::size_t at = json.find('\\'); at < json.size(); at = json.find('\\', at)) {
    const unsigned half = unit(at) & 0xfc00U;
    if (half == 0xdc00U || (half == 0xd800U && (unit(at + 6) & 0xfc00U) != 0xdc00U)) return at;
    at += half == 0xd800U ? 12 : 2;
  }
  return std::string_view::npos;
}

/// Gives `json` to a RapidJSON handler that answers false to stop, and then says why in `problem()`. Numbers come as they
/// are written (RawNumber): RapidJSON's own arithmetic goes wrong for some.
/// Returns what is wrong; empty: nothing.
template <class Handler>
[[nodiscard]] std::string read_json(std::string_view json, Handler& handler) {
  constexpr std::string_view mark = "\xef\xbb\xbf";  // as some editors begin a file
  if (json.substr(0, mark.size()) == mark) json.remove_prefix(mark.size());
  const auto problem_at = [json](std::size_t offset, const std::string& what) {
    const auto end = json.begin() + static_cast<std::ptrdiff_t>(std::min(offset, json.size()));
    return "line " + std::to_string(1 + std::count(json.begin(), end, '\n')) + ": " + what;
  };
  // RapidJSON would take it for the end of the file, and what follows would be gone without a word.
  if (const auto at = json.find('\0'); at != json.npos) return problem_at(at, "there is a NUL, which no text has");
  rapidjson::MemoryStream input(json.data(), json.size());
  rapidjson::Reader reader;
  constexpr unsigned flags =
      rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNumbersAsStringsFlag;
  const rapidjson::ParseResult result = reader.Parse<flags>(input, handler);
  if (!result.IsError()) {
    const auto at = find_lone_surrogate(json);
    return at == json.npos ? std::string() : problem_at(at, "an escape is half a surrogate pair");
  }
  // A handler is called once its value was read: where the reader stands is in the line of what is wrong.
  if (!handler.problem().empty()) return problem_at(input.Tell(), handler.problem());
  return problem_at(result.Offset(), rapidjson::GetParseError_En(result.Code()));
}

/// What `parse` makes of a file's content, or what is wrong, beginning with the file's name.
template <class Parsed>
[[nodiscard]] std::variant<Parsed, FileProblem> read_file(
    const std::filesystem::path& file, std::variant<Parsed, FileProblem> (*parse)(std::string_view json)) {
  std::ifstream stream(file, std::ios::binary);
  std::error_code error;
  if (!stream || std::filesystem::is_directory(file, error)) return FileProblem{file.string() + " cannot be read"};
  const std::string json{std::istreambuf_iterator<char>(stream), {}};
  auto parsed = parse(json);
  if (auto* problem = std::get_if<FileProblem>(&parsed)) problem->sentence.insert(0, file.string() + " ");
  return parsed;
}

}  // namespace muster_server
