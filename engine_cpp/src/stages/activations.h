// Rows of activations in the formats that the weights reading them want.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.h"
#include "kernels/table.h"
#include "quant/activation.h"

namespace ktd {

// Which formats a set of weights wants of its input.
struct Formats {
  bool f32 = false;
  bool q8 = false;

  Formats& add(const Formats& other) {
    f32 |= other.f32;
    q8 |= other.q8;
    return *this;
  }
  Formats& add(const TypeTraits* traits) {
    (traits->act == ActFormat::F32 ? f32 : q8) = true;
    return *this;
  }
};

// `count` rows of `width` values. The float rows are always there: producers write them first.
class Activations {
 public:
  Activations(Carver& carver, int64_t count, int64_t width, Formats formats)
      : width_(width),
        f32_bytes_((width * sizeof(float) + 63) / 64 * 64),
        q8_bytes_(formats.q8 ? ActQ8::row_bytes(width) : 0),
        f32_(carver.take<std::byte>(count * f32_bytes_)),
        q8_(carver.take<std::byte>(count * q8_bytes_)) {}

  int64_t stride() const {
    return static_cast<int64_t>(f32_bytes_ / sizeof(float));
  }  // floats from row to row
  float* row(int64_t i) const { return reinterpret_cast<float*>(f32_ + i * f32_bytes_); }

  // Makes values [begin, begin + n) of row i, already in row(i), available in every format.
  void publish(const Kernels& kernels, int64_t i, int64_t begin, int64_t n) const {
    if (q8_bytes_ != 0) kernels.quantize_q8(row(i) + begin, q8_ + i * q8_bytes_, width_, begin, n);
  }
  void publish(const Kernels& kernels, int64_t i) const { publish(kernels, i, 0, width_); }

  // Where a weight of this type finds row i, and the distance to the next.
  const std::byte* data(const TypeTraits* traits, int64_t i = 0) const {
    return traits->act == ActFormat::F32 ? f32_ + i * f32_bytes_ : q8_ + i * q8_bytes_;
  }
  size_t row_bytes(const TypeTraits* traits) const {
    return traits->act == ActFormat::F32 ? f32_bytes_ : q8_bytes_;
  }

 private:
  int64_t width_;
  size_t f32_bytes_;
  size_t q8_bytes_;
  std::byte* f32_;
  std::byte* q8_;
};

}  // namespace ktd
