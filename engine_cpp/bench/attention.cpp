// How fast attention looks at keys on one core, in multiplications per nanosecond, apart from reading the
// cache.
//   attention [isa]
// Build: cmake --build build/<tag> --target ktd_bench_attention
#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "kernels/table.h"
#include "timing.h"

namespace {

using namespace ktd;

constexpr int kRounds = 60;

struct Shape {
  const char* name;
  int64_t rows, key_width, value_width;
};

constexpr Shape kShapes[] = {
    {"MLA absorbed, 16 heads", 16, 576, 512},    {"MLA absorbed, 64 heads", 64, 576, 512},
    {"MLA expanded, 512 tokens", 512, 192, 128}, {"GQA, 7 heads of 64", 7, 64, 64},
    {"GQA, 256 rows of 64", 256, 64, 64},        {"GQA, 256 rows of 128", 256, 128, 128},
};

std::vector<float> noise(int64_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> x(n);
  for (auto& value : x) value = normal(random);
  return x;
}

void measure(const AttentionKernels& kernels, const Shape& s) {
  const auto q = noise(s.rows * s.key_width), rows = noise(kKeyTile * s.key_width),
             values = noise(kKeyTile * s.value_width);
  std::vector<float> keys(kKeyTile * s.key_width), mix(s.rows * s.value_width), peak(s.rows, -1e30f),
      sum(s.rows);
  const std::vector<int32_t> begin(s.rows, 0), end(s.rows, kKeyTile);
  std::vector<std::byte> cached(kKeyTile * s.key_width * 2);
  const auto f16 = static_cast<size_t>(TensorType::F16);
  for (int64_t r = 0; r < kKeyTile; ++r)
    kernels.store_row[f16](rows.data() + r * s.key_width, cached.data() + r * s.key_width * 2, s.key_width);
  std::vector<float> loaded(rows.size());

  const double load = best_seconds(kRounds, [&] {
    kernels.load_rows[f16](cached.data(), s.key_width * 2, kKeyTile, 0, s.key_width, loaded.data(),
                           s.key_width);
  });
  const double turn =
      best_seconds(kRounds, [&] { kernels.turn_keys(rows.data(), s.key_width, s.key_width, keys.data()); });
  const double look = best_seconds(kRounds, [&] {
    kernels.attend({s.rows, q.data(), s.key_width, begin.data(), end.data(), 0, peak.data(), sum.data(),
                    mix.data(), s.value_width},
                   {keys.data(), s.key_width, values.data(), s.value_width, s.value_width, 0, kKeyTile});
  });
  const double products = static_cast<double>(s.rows * kKeyTile * (s.key_width + s.value_width));
  std::printf("%-26s %8.1f %8.1f %10.1f us   %6.1f a ns\n", s.name, load * 1e6, turn * 1e6, look * 1e6,
              products / look * 1e-9);
}

}  // namespace

int main(int argc, char** argv) {
  const Kernels& table = kernels(choose_isa(argc > 1 ? argv[1] : ""));
  std::printf("%-26s %8s %8s %10s\n", name(table.isa), "load", "turn", "attend");
  for (const Shape& shape : kShapes) measure(*table.attention, shape);
}
