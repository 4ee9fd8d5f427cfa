// A norm of rows, with the weights that say which.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/table.h"

namespace ktd {

// RMS norm; LayerNorm where there is a bias; the row itself where there is no weight.
struct Norm {
  const float* weight;  // [n] or null
  const float* bias;    // [n] or null
  float eps;

  // y = norm(x); in place is fine.
  void apply(const Kernels& kernels, const float* x, float* y, int64_t n) const {
    if (bias)
      kernels.layer_norm(x, weight, bias, eps, y, n);
    else if (weight)
      kernels.rms_norm(x, weight, eps, y, n);
    else if (x != y)
      std::copy_n(x, n, y);
  }
};

}  // namespace ktd
