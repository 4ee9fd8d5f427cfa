#include <cstring>

#include "base/half.h"
#include "quant/ref/decode.h"

namespace ktd {

void decode(const BlockF32* b, float* y, int64_t n) {
  std::memcpy(y, b, static_cast<size_t>(n) * sizeof(float));
}

void decode(const BlockF16* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = half_to_float(b[i].bits);
}

void decode(const BlockBF16* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = bf16_to_float(b[i].bits);
}

}  // namespace ktd
