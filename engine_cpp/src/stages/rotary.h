// Rotary position embedding from per-pair frequencies.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace ktd {

struct Rotary {
  std::vector<float> frequencies;  // radians per position, one per pair
  bool adjacent;                   // pairs are (2i, 2i+1); else (i, i + pairs)
  float magnitude = 1.0f;          // what the rotated values are multiplied by

  int64_t dims() const { return 2 * static_cast<int64_t>(frequencies.size()); }

  // turn[2i], turn[2i+1] = cos, sin of pair i at this position, times the magnitude.
  void angles(int32_t position, float* turn) const {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const float angle = static_cast<float>(position) * frequencies[i];
      turn[2 * i] = magnitude * std::cos(angle);
      turn[2 * i + 1] = magnitude * std::sin(angle);
    }
  }

  // y = x rotated; in place is fine. Both keep the layout of x.
  void rotate(const float* x, const float* turn, float* y) const {
    const size_t pairs = frequencies.size(), step = adjacent ? 2 : 1, other = adjacent ? 1 : pairs;
    for (size_t i = 0; i < pairs; ++i) {
      const float a = x[i * step], b = x[i * step + other], cos = turn[2 * i], sin = turn[2 * i + 1];
      y[i * step] = a * cos - b * sin;
      y[i * step + other] = b * cos + a * sin;
    }
  }
};

}  // namespace ktd
