// Matrices of floats: the router, and small attention weights.
#pragma once

#include "team.cuh"

namespace ktd {

struct F32 {
  using Word = float;
  DEVICE static float value(Word word) { return word; }
};

struct F16 {
  using Word = uint16_t;
  DEVICE static float value(Word word) { return half_to_float(word); }
};

struct BF16 {
  using Word = uint16_t;
  DEVICE static float value(Word word) { return bf16_to_float(word); }
};

// As matvec, with activations [tokens * parts, k] of float.
template <class Type, int kTokens>
__global__ void __launch_bounds__(kThreads, kBlocks)
    float_matvec(const uint8_t* weights, int k, int first, int rows, int part_rows, const float* x,
                 int tokens, float* out, int stride, int add, int lanes) {
  const auto* words = reinterpret_cast<const typename Type::Word*>(weights);
  const Team team{lanes};
  const int parts = rows / part_rows;

  for (int base = blockIdx.x * team.count(); base < rows; base += gridDim.x * team.count()) {
    const int row = min(base + team.index(), rows - 1);
    const int64_t begin = static_cast<int64_t>(first + row) * k;
    const int part = row / part_rows;
    float sum[kTokens] = {};
#pragma unroll 4
    for (int i = team.lane(); i < k; i += lanes) {
      const float weight = Type::value(__ldg(words + begin + i));
#pragma unroll
      for (int t = 0; t < kTokens; ++t)
        if (t < tokens)
          sum[t] = fmaf(weight, __ldg(x + static_cast<int64_t>(t * parts + part) * k + i), sum[t]);
    }
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const float total = team.sum(sum[t]);
      if (team.lane() != 0 || t >= tokens || base + team.index() >= rows) continue;
      float& to = out[static_cast<int64_t>(t) * stride + row];
      to = add ? to + total : total;
    }
  }
}

}  // namespace ktd
