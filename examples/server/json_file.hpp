// JSON files that an operator writes: read as a stream, so that what is wrong is named with its line.
#pragma once

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
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

/// Gives `json` to a RapidJSON handler that answers false to stop, and then says why in `problem()`.
/// Returns what is wrong; empty: nothing.
template <class Handler>
[[nodiscard]] std::string read_json(std::string_view json, Handler& handler) {
  rapidjson::MemoryStream stream(json.data(), json.size());
  rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> input(stream);
  rapidjson::Reader reader;
  constexpr unsigned flags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag;
  const rapidjson::ParseResult result = reader.Parse<flags>(input, handler);
  if (!result.IsError()) return {};
  // A handler is called once its value was read: where the reader stands is in the line of what is wrong.
  const std::size_t read = handler.problem().empty() ? result.Offset() : input.Tell();
  const auto end = json.begin() + static_cast<std::ptrdiff_t>(std::min(read, json.size()));
  const auto line = 1 + std::count(json.begin(), end, '\n');
  return "line " + std::to_string(line) + ": " +
         (handler.problem().empty() ? rapidjson::GetParseError_En(result.Code()) : handler.problem());
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
