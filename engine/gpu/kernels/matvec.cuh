// A quantised matrix times the activations of one to eight tokens.
#pragma once

#include "activations.cuh"
#include "team.cuh"
#include "types.cuh"

namespace ktd {

// out[t * stride + r] = row first + r of the weights . activations of token t, added to what is there with
// `add`. Rows stand in parts of `part_rows`, each with activations of its own: row t * parts + part of them.
template <class Type, int kTokens>
__global__ void __launch_bounds__(kThreads, kBlocks)
    matvec(const uint8_t* weights, int64_t blocks, int k, int first, int rows, int part_rows, const int8_t* q,
           const float* scales, const float* sums, int tokens, float* out, int stride, int add, int lanes) {
  __shared__ typename Type::Table table;
  table.fill();
  const View<Type> view{weights, blocks};
  const Activations x{q, scales, sums};
  const Team team{lanes};
  const int groups = k / 32, parts = rows / part_rows;

  for (int base = blockIdx.x * team.count(); base < rows; base += gridDim.x * team.count()) {
    const int row = min(base + team.index(), rows - 1);  // the last are computed twice and stored once
    const int64_t row_groups = static_cast<int64_t>(first + row) * groups;
    const int part = row / part_rows;
    float sum[kTokens] = {};
#pragma unroll 2
    for (int g = team.lane(); g < groups; g += lanes) {
      const Group group = Type::open(view, row_groups + g, table);
#pragma unroll
      for (int t = 0; t < kTokens; ++t)
        if (t < tokens)
          add_product<Type>(group, x, static_cast<int64_t>(t * parts + part) * groups + g, sum[t]);
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
