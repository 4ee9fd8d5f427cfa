// What attention needs of an ISA: rows of the KV cache, and the softmax over tiles of keys.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "quant/type.h"

namespace ktd {

inline constexpr int64_t kKeyTile = 64;  // keys that are looked at together

// Query rows on their way through the keys, a running softmax for each.
struct QueryRows {
  int64_t rows;
  const float* q;  // [rows, key_width], scaled
  int64_t q_stride;
  const int32_t* begin;  // [rows] a row sees the keys at [begin, end)
  const int32_t* end;
  float softcap;  // scores become softcap * tanh(score / softcap); 0: they stay
  float* peak;    // [rows] largest score so far
  float* sum;     // [rows] of exp(score - peak)
  float* mix;     // [rows, value_width] sums of exp(score - peak) * value
  int64_t mix_stride;
};

// Keys and values that lie together.
struct KeyTile {
  const float* keys;  // [key_width, kKeyTile]: turn_keys made it
  int64_t key_width;
  const float* values;  // [count, value_width]
  int64_t value_stride;
  int64_t value_width;
  int64_t first;  // place of the first
  int64_t count;  // up to kKeyTile
};

// Stores floats as a row of a cache type.
using StoreRowFn = void (*)(const float* x, std::byte* dst, int64_t n);
// Values [begin, begin + n) of `count` cache rows, as floats: to[r * stride + i].
using LoadRowsFn = void (*)(const std::byte* rows, size_t row_bytes, int64_t count, int64_t begin, int64_t n,
                            float* to, int64_t stride);

struct AttentionKernels {
  std::array<StoreRowFn, kTypeSlots> store_row;  // F32, F16, BF16, Q8_0; else null
  std::array<LoadRowsFn, kTypeSlots> load_rows;
  // keys[i * kKeyTile + r] = rows[r * stride + i], for all kKeyTile rows and i in [0, width).
  void (*turn_keys)(const float* rows, int64_t stride, int64_t width, float* keys);
  // The rows take the tile into their softmax.
  void (*attend)(const QueryRows& queries, const KeyTile& tile);
};

}  // namespace ktd
