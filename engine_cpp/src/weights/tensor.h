// Weights as the stages see them: typed views into mapped files or derived memory. A view owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "quant/type.h"

namespace ktd {

struct Tensor {
  std::string name;
  const TypeTraits* traits;
  std::vector<int64_t> shape;  // GGUF order: the contiguous dimension first
  const std::byte* data;
  size_t bytes;

  int64_t dim(size_t i) const { return i < shape.size() ? shape[i] : 1; }
};

// The values of an F32 tensor; null for null.
inline const float* floats(const Tensor* tensor) {
  return tensor ? reinterpret_cast<const float*>(tensor->data) : nullptr;
}

// `count` matrices of `rows` rows of `k` weights: one for a plain weight, one per expert or head for a stack.
// A file may keep each matrix of a stack in a tensor of its own: then `parts` says where they are.
struct Matrix {
  const TypeTraits* traits;
  const std::byte* data;
  int64_t k;
  int64_t rows;
  int64_t count;
  size_t row_bytes;
  size_t stride;                                                 // bytes from one matrix to the next
  std::shared_ptr<const std::vector<const std::byte*>> parts{};  // [count] or null

  const std::byte* row(int64_t r, int64_t which = 0) const {
    return (parts ? (*parts)[which] : data + which * stride) + r * row_bytes;
  }
};

inline Matrix matrix(const Tensor& tensor) {
  const size_t row_bytes = tensor.traits->row_bytes(tensor.dim(0));
  return {tensor.traits,
          tensor.data,
          tensor.dim(0),
          tensor.dim(1),
          tensor.dim(2),
          row_bytes,
          row_bytes * tensor.dim(1)};
}

}  // namespace ktd
