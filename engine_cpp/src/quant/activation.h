// Activations as the quantised dot products take them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ktd {

// One row of n activations (n a multiple of 32) in ActFormat::Q8: x[i] is about d[i / 32] * q[i].
// Four planes, each from a 64-byte boundary of the row and with room for n rounded up to 256:
//   int8  q[n]       in [-127, 127]; what lies behind has no meaning
//   float d[n / 32]  a float, because the 1e4-sized activations of DeepSeek overflow a half; zeros behind
//   float s[n / 16]  d * (sum of 16 q): what the minimum or offset of a weight block multiplies; zeros behind
//   int8  t[n]       q once more, turned for the kernels of turned.inl: of each 256, the 32 groups of 8 stand
//                    as columns, so that group 4 j + i lies at 64 i + 8 j
struct ActQ8 {
  const int8_t* q;
  const float* d;
  const float* s;
  const int8_t* t;

  // Always inlined: per-ISA files must not leave a copy of these for others to link to.
  [[gnu::always_inline]] static constexpr int64_t padded(int64_t n) { return (n + 255) / 256 * 256; }
  [[gnu::always_inline]] static constexpr size_t d_offset(int64_t n) {
    return static_cast<size_t>(padded(n));
  }
  [[gnu::always_inline]] static constexpr size_t s_offset(int64_t n) {
    return aligned(d_offset(n) + static_cast<size_t>(padded(n) / 32) * sizeof(float));
  }
  [[gnu::always_inline]] static constexpr size_t t_offset(int64_t n) {
    return s_offset(n) + static_cast<size_t>(padded(n) / 16) * sizeof(float);  // a multiple of 64
  }
  [[gnu::always_inline]] static constexpr size_t row_bytes(int64_t n) {
    return t_offset(n) + static_cast<size_t>(padded(n));
  }
  [[gnu::always_inline]] static ActQ8 at(const std::byte* row, int64_t n) {
    return {reinterpret_cast<const int8_t*>(row), reinterpret_cast<const float*>(row + d_offset(n)),
            reinterpret_cast<const float*>(row + s_offset(n)),
            reinterpret_cast<const int8_t*>(row + t_offset(n))};
  }

 private:
  [[gnu::always_inline]] static constexpr size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }
};

}  // namespace ktd
