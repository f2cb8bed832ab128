// How a target is run: by libFuzzer where it is linked, else over its seeds and the files that are named.
//
// --write-seeds=DIRECTORY writes the seeds there, a file each, and does nothing else.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

#include "fuzz/fuzz.hpp"

namespace {

/// Whether the arguments asked for it.
bool write_seeds(int count, char** arguments) {
  constexpr std::string_view flag = "--write-seeds=";
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument.substr(0, flag.size()) != flag) continue;
    const std::filesystem::path directory = argument.substr(flag.size());
    std::filesystem::create_directories(directory);
    std::size_t number = 0;
    for (const std::string& seed : muster::fuzz::seeds()) {
      std::ofstream file(directory / ("seed-" + std::to_string(number++)), std::ios::binary);
      file.write(seed.data(), static_cast<std::streamsize>(seed.size()));
    }
    return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  muster::fuzz::run({reinterpret_cast<const char*>(data), size});
  return 0;
}

#if defined(MUSTER_LIBFUZZER)

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  if (write_seeds(*count, *arguments)) std::exit(0);
  return 0;
}

#else

int main(int count, char** arguments) {
  if (write_seeds(count, arguments)) return 0;
  std::vector<std::string> inputs = muster::fuzz::seeds();
  for (int i = 1; i < count; ++i) {
    std::ifstream file(arguments[i], std::ios::binary);
    if (!file) {
      std::cerr << arguments[i] << " cannot be read\n";
      return 2;
    }
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  // Each input, and what is left of it wherever it is cut off.
  for (const std::string& input : inputs) {
    const std::size_t step = 1 + input.size() / 64;
    for (std::size_t size = 0; size < input.size(); size += step) muster::fuzz::run(std::string(input, 0, size));
    muster::fuzz::run(input);
  }
  std::cout << inputs.size() << " inputs kept every promise\n";
}

#endif
