// How fast the matmul kernels read weights on one core: from memory for a token, and from L2 for several and
// for prompts.
//   kernels [isa] [type ...]      all of them by default
// Build: cmake --build build/<tag> --target ktd_bench_kernels
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "kernels/table.h"
#include "quant/activation.h"

namespace {

using namespace ktd;

constexpr int64_t kWidth = 4096;
constexpr size_t kMemory = 128 << 20;  // far beyond any L3
constexpr size_t kL2 = 600 << 10;      // of the 1 MiB and more of server cores
constexpr int64_t kTile = 32;          // rows of a call, as the stages cut them
constexpr int kRounds = 12;
constexpr int64_t kTokens[] = {1, 2, 4, 8, 16, 64, 512};
constexpr int64_t kMaxTokens = 512;

struct Buffer {
  explicit Buffer(size_t bytes) : storage(new std::byte[bytes + 64]), size(bytes) {
    const auto at = reinterpret_cast<uintptr_t>(storage.get());
    data = storage.get() + (64 - at % 64) % 64;
  }
  std::unique_ptr<std::byte[]> storage;
  size_t size;
  std::byte* data;
};

// Of this thread, so that other work on the machine disturbs less.
double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The best of some rounds of `work`, each repeated until it lasts.
template <class Work>
double best_seconds(Work work) {
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    int repeats = 0;
    const double start = cpu_seconds();
    do {
      work();
      ++repeats;
    } while (cpu_seconds() - start < 0.003);
    best = std::min(best, (cpu_seconds() - start) / repeats);
  }
  return best;
}

// Random bits would make half of the scales infinite or NaN, and some of them slow; small normal ones do not.
void fill_weights(Buffer& buffer) {
  std::mt19937_64 random(1);
  for (size_t i = 0; i + 8 <= buffer.size; i += 8) {
    uint64_t bits = random() & 0x3b3b3b3b3b3b3b3bu;  // halves and floats below 1
    std::memcpy(buffer.data + i, &bits, 8);
  }
}

double read_seconds(const Buffer& buffer) {
  const auto* words = reinterpret_cast<const uint64_t*>(buffer.data);
  volatile uint64_t sink = 0;
  return best_seconds([&] {
    uint64_t sums[8] = {};
    for (size_t i = 0; i + 8 <= buffer.size / 8; i += 8)
      for (int j = 0; j < 8; ++j) sums[j] ^= words[i + j];
    for (uint64_t s : sums) sink = sink ^ s;
  });
}

struct Case {
  const Kernels& kernels;
  const TypeTraits& traits;
  const Buffer& weights;
  const Buffer& acts;
  size_t act_bytes;
  float* out;
};

double matmul_seconds(const Case& c, size_t bytes, int64_t tokens) {
  const size_t row_bytes = c.traits.row_bytes(kWidth);
  const int64_t rows = static_cast<int64_t>(bytes / row_bytes) / kTile * kTile;
  const double seconds = best_seconds([&] {
    for (int64_t row = 0; row < rows; row += kTile)
      c.kernels.matmul[static_cast<size_t>(c.traits.type)]({.rows = c.weights.data + row * row_bytes,
                                                            .row_bytes = row_bytes,
                                                            .n_rows = kTile,
                                                            .k = kWidth,
                                                            .acts = c.acts.data,
                                                            .act_bytes = c.act_bytes,
                                                            .gather = nullptr,
                                                            .n_tokens = tokens,
                                                            .out = c.out,
                                                            .out_stride = kTile});
  });
  return seconds / (static_cast<double>(rows) * row_bytes);
}

void measure(const Kernels& kernels, const TypeTraits& traits, Buffer& weights) {
  fill_weights(weights);
  const size_t act_bytes = traits.act == ActFormat::F32 ? kWidth * sizeof(float) : ActQ8::row_bytes(kWidth);
  Buffer acts(act_bytes * kMaxTokens);
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(kWidth), out(kMaxTokens * kTile);
  for (int64_t t = 0; t < kMaxTokens; ++t) {
    for (auto& value : x) value = normal(random);
    if (traits.act == ActFormat::F32) {
      std::memcpy(acts.data + t * act_bytes, x.data(), kWidth * sizeof(float));
    } else {
      kernels.quantize_q8(x.data(), acts.data + t * act_bytes, kWidth, 0, kWidth);
    }
  }
  const Case c{kernels, traits, weights, acts, act_bytes, out.data()};
  std::printf("%-7s %-8s", name(kernels.isa), traits.name);
  const double memory = matmul_seconds(c, kMemory, 1);
  std::printf(" memory %6.1f GB/s", 1e-9 / memory);
  std::printf("   L2 %5.1f GB/s   Gmac/s", 1e-9 / matmul_seconds(c, kL2, 1));
  for (int64_t tokens : kTokens) {
    const double seconds = matmul_seconds(c, kL2, tokens);
    const double weights_per_byte = static_cast<double>(traits.block) / traits.bytes;
    std::printf("  %lldt %5.1f", static_cast<long long>(tokens), 1e-9 / seconds * weights_per_byte * tokens);
  }
  std::printf("\n");
}

bool wanted(const char* type, int count, char** names) {
  return count == 0 ||
         std::any_of(names, names + count, [&](const char* n) { return !std::strcmp(n, type); });
}

}  // namespace

int main(int argc, char** argv) {
  Buffer weights(kMemory);
  std::memset(weights.data, 1, weights.size);
  std::printf("one core reads %.1f GB/s from memory\n", 1e-9 * kMemory / read_seconds(weights));
  for (Isa isa : available_isas()) {
    if (argc > 1 && std::strcmp(argv[1], name(isa)) != 0) continue;
    for (const TypeTraits* traits : all_traits())
      if (wanted(traits->name, argc - 2 > 0 ? argc - 2 : 0, argv + 2))
        measure(kernels(isa), *traits, weights);
  }
}
