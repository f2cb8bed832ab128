// A page that describes a protocol: its examples, which are blocks of "frames", and its tables, by the heading above them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace muster::test {

using Names = std::set<std::string>;

/// A line of an example, with those that continue it.
struct Line {
  std::size_t number = 0;
  std::string text;
};
using Example = std::vector<Line>;
using Row = std::vector<std::string>;

class Page {
 public:
  explicit Page(const std::string& path) {
    std::ifstream file(path);
    std::string heading;
    Example* example = nullptr;
    std::string fence;
    std::string line;
    for (std::size_t number = 1; std::getline(file, line); ++number) {
      if (line.rfind("```", 0) == 0) {
        fence = fence.empty() ? line : std::string();
        example = fence == "```frames" ? &examples.emplace_back() : nullptr;
      } else if (!fence.empty()) {
        if (example == nullptr || line.empty()) continue;
        if (line.front() == ' ') {
          example->back().text += line.substr(line.find_first_not_of(' '));
        } else {
          example->push_back({number, line});
        }
      } else if (line.rfind("## ", 0) == 0) {
        heading = line.substr(3);
      } else if (line.rfind("| ", 0) == 0) {
        rows_[heading].push_back(cells(line));
      } else {
        text += line + " ";
      }
    }
  }

  /// The rows below a heading whose table has this many columns, without the one of titles.
  [[nodiscard]] std::vector<Row> table(const std::string& heading, std::size_t columns) const {
    std::vector<Row> found;
    const auto rows = rows_.find(heading);
    if (rows == rows_.end()) return found;
    for (const Row& row : rows->second) {
      if (row.size() == columns) found.push_back(row);
    }
    if (!found.empty()) found.erase(found.begin());
    return found;
  }

  std::vector<Example> examples;
  /// What stands outside of tables and blocks, in one line.
  std::string text;

 private:
  static Row cells(const std::string& line) {
    Row row;
    std::istringstream in(line.substr(1));
    for (std::string cell; std::getline(in, cell, '|');) {
      const std::size_t begin = std::min(cell.find_first_not_of(' '), cell.size());
      row.push_back(cell.substr(begin, cell.find_last_not_of(' ') + 1 - begin));
    }
    return row;
  }
  std::map<std::string, std::vector<Row>> rows_;
};

/// The words that the code spans of a cell begin with.
[[nodiscard]] inline Names names_in(const std::string& cell) {
  static const std::regex span("`([a-z_]+)[^`]*`");
  Names names;
  for (auto at = std::sregex_iterator(cell.begin(), cell.end(), span); at != std::sregex_iterator(); ++at) {
    names.insert((*at)[1]);
  }
  return names;
}
[[nodiscard]] inline std::string name_in(const std::string& cell) {
  const Names names = names_in(cell);
  return names.size() == 1 ? *names.begin() : "not one name: " + cell;
}
/// Of a column, each once.
[[nodiscard]] inline Names column(const std::vector<Row>& rows, std::size_t which) {
  Names names;
  for (const Row& row : rows) {
    if (!names.insert(name_in(row[which])).second) names.insert("twice: " + row[which]);
  }
  return names;
}

/// Which of `wanted` are not there, for a failure to show.
[[nodiscard]] inline std::string missing(const Names& wanted, const Names& there) {
  std::string all;
  for (const std::string& name : wanted) all += there.count(name) == 0 ? " " + name : "";
  return all;
}
/// What one side has and the other has not.
[[nodiscard]] inline std::string difference(const Names& page, const Names& code) {
  const std::string lacking = missing(code, page);
  const std::string beyond = missing(page, code);
  return (lacking.empty() ? "" : "the page lacks" + lacking + ". ") +
         (beyond.empty() ? "" : "only the page has" + beyond + ".");
}

/// A word in capitals that stands for a value: all of it, or all of a string.
inline const std::regex placeholder("\\b[A-Z][A-Z0-9_]*[A-Z0-9](?=[\",}])");
/// Who sends what, or gets it.
inline const std::regex spoken("(\\w+) ([<>]) (.*)");

}  // namespace muster::test
