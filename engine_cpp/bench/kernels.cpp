// How fast the matmul kernels read weights on one core: from memory for a token, and from L2 for several and
// for prompts.
//   kernels WIDTH [isa] [type ...]      rows of WIDTH weights; all ISAs and types by default
// Build: cmake --build build/<tag> --target ktd_bench_kernels
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/memory.h"
#include "kernels/table.h"
#include "quant/activation.h"
#include "timing.h"

namespace {

using namespace ktd;

constexpr size_t kMemory = 128 << 20;  // far beyond any L3
constexpr size_t kL2 = 600 << 10;      // of the 1 MiB and more of server cores
constexpr int64_t kTile = 32;          // rows of a call, as the stages cut them
constexpr int kRounds = 12;
constexpr int64_t kTokens[] = {1, 2, 4, 8, 16, 64, 512};
constexpr int64_t kMaxTokens = 512;

// Random bits would make half of the scales infinite or NaN, and some of them slow; small normal ones do not.
void fill_weights(Memory& buffer) {
  std::mt19937_64 random(1);
  for (size_t i = 0; i + 8 <= buffer.bytes(); i += 8) {
    uint64_t bits = random() & 0x3b3b3b3b3b3b3b3bu;  // halves and floats below 1
    std::memcpy(buffer.data() + i, &bits, 8);
  }
}

double read_seconds(const Memory& buffer) {
  const auto* words = reinterpret_cast<const uint64_t*>(buffer.data());
  volatile uint64_t sink = 0;
  return best_seconds(kRounds, [&] {
    uint64_t sums[8] = {};
    for (size_t i = 0; i + 8 <= buffer.bytes() / 8; i += 8)
      for (int j = 0; j < 8; ++j) sums[j] ^= words[i + j];
    for (uint64_t s : sums) sink = sink ^ s;
  });
}

struct Case {
  const Kernels& kernels;
  const TypeTraits& traits;
  const Memory& weights;
  const Memory& acts;
  int64_t width;
  size_t act_bytes;
  float* out;
};

double matmul_seconds(const Case& c, size_t bytes, int64_t tokens) {
  const size_t row_bytes = c.traits.row_bytes(c.width);
  const int64_t rows = static_cast<int64_t>(bytes / row_bytes) / kTile * kTile;
  const double seconds = best_seconds(kRounds, [&] {
    for (int64_t row = 0; row < rows; row += kTile)
      c.kernels.matmul[static_cast<size_t>(c.traits.type)]({.rows = c.weights.data() + row * row_bytes,
                                                            .row_bytes = row_bytes,
                                                            .n_rows = kTile,
                                                            .k = c.width,
                                                            .acts = c.acts.data(),
                                                            .act_bytes = c.act_bytes,
                                                            .gather = nullptr,
                                                            .n_tokens = tokens,
                                                            .out = c.out,
                                                            .out_stride = kTile});
  });
  return seconds / (static_cast<double>(rows) * row_bytes);
}

void measure(const Kernels& kernels, const TypeTraits& traits, int64_t width, Memory& weights) {
  fill_weights(weights);
  const size_t act_bytes = traits.act == ActFormat::F32 ? width * sizeof(float) : ActQ8::row_bytes(width);
  Memory acts(act_bytes * kMaxTokens, "activations");
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(width), out(kMaxTokens * kTile);
  for (int64_t t = 0; t < kMaxTokens; ++t) {
    for (auto& value : x) value = normal(random);
    if (traits.act == ActFormat::F32) {
      std::memcpy(acts.data() + t * act_bytes, x.data(), width * sizeof(float));
    } else {
      kernels.quantize_q8(x.data(), acts.data() + t * act_bytes, width, 0, width);
    }
  }
  const Case c{kernels, traits, weights, acts, width, act_bytes, out.data()};
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
  const int64_t width = argc > 1 ? std::atoll(argv[1]) : 0;
  if (width <= 0) {
    std::fprintf(stderr, "usage: %s WIDTH [isa] [type ...]\n", argv[0]);
    return 2;
  }
  Memory weights(kMemory, "weights");
  std::memset(weights.data(), 1, weights.bytes());
  std::printf("one core reads %.1f GB/s from memory\n", 1e-9 * kMemory / read_seconds(weights));
  for (Isa isa : available_isas()) {
    if (argc > 2 && std::strcmp(argv[2], name(isa)) != 0) continue;
    for (const TypeTraits* traits : all_traits())
      if (width % traits->block == 0 && wanted(traits->name, std::max(argc - 3, 0), argv + 3))
        measure(kernels(isa), *traits, width, weights);
  }
}
