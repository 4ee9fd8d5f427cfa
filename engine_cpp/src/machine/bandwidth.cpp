#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "base/memory.h"
#include "machine/machine.h"

namespace ktd {
namespace {

constexpr size_t kChunk = 1 << 20;
constexpr int kPasses = 5;

uint64_t sum(const std::byte* data, size_t bytes) {
  const auto* words = reinterpret_cast<const uint64_t*>(data);
  uint64_t totals[8] = {};
  for (size_t i = 0; i + 8 <= bytes / sizeof(uint64_t); i += 8)
    for (int lane = 0; lane < 8; ++lane) totals[lane] += words[i + lane];
  uint64_t all = 0;
  for (uint64_t total : totals) all += total;
  return all;
}

}  // namespace

double read_bandwidth(Machine& machine, size_t bytes) {
  const int64_t chunks = std::max<int64_t>(1, static_cast<int64_t>(bytes / kChunk));
  Memory buffer(chunks * kChunk, "the bandwidth measurement");
  std::atomic<uint64_t> sink{0};
  double best = 0;
  machine.pool.run([&](Team& team) {
    team.each(chunks, [&](int64_t i) { std::memset(buffer.data() + i * kChunk, 1, kChunk); });
    for (int pass = 0; pass < kPasses; ++pass) {
      const auto start = std::chrono::steady_clock::now();
      team.each(chunks, [&](int64_t i) { sink += sum(buffer.data() + i * kChunk, kChunk); });
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      if (team.rank() == 0) best = std::max(best, static_cast<double>(chunks * kChunk) / took.count());
    }
  });
  return best;
}

}  // namespace ktd
