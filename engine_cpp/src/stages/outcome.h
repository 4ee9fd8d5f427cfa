// What a stage adds to the hidden state when more than a product is left to do.
#pragma once

#include <cstdint>

#include "kernels/table.h"

namespace ktd {

// hidden += norm(row + bias), each of which may be missing.
struct Outcome {
  const float* bias;  // [dim] or null
  const float* norm;  // [dim] or null
  float eps;

  bool plain() const { return bias == nullptr && norm == nullptr; }  // the product itself is added

  // `row` is overwritten.
  void add(const Kernels& kernels, float* row, float* hidden, int64_t dim) const {
    if (bias) kernels.axpy(1.0f, bias, row, dim);
    if (norm) kernels.rms_norm(row, norm, eps, row, dim);
    kernels.axpy(1.0f, row, hidden, dim);
  }
};

}  // namespace ktd
