// Many tokens: a grouped product on tensor cores. Weights become tiles of bf16 in shared memory as they are
// needed.
#pragma once

#include "dequantise.cuh"
#include "team.cuh"
#include "tiles.cuh"

namespace ktd {

constexpr int kTileTokens = 64;
constexpr int kTileRows = 64;
constexpr int kDepth = 64;  // weights of a row at a time: two groups

// A block per tile (blockIdx.y) and kTileRows rows. A tile is {place, first, count}: up to kTileTokens
// entries from `first` on, all of the matrix at `place` of the stack; a tile of none is left out. Entry i is
// row order[i] of x, bf16
// [.., k] (order null: row i), and its product goes to out [entries, rows].
template <class Type>
__global__ void __launch_bounds__(kThreads, 3)
    grouped_gemm(const uint8_t* weights, int64_t blocks, int k, int rows, const uint16_t* x,
                 const int32_t* order, const int32_t* tiles, float* out) {
  const int place = tiles[3 * blockIdx.y], first = tiles[3 * blockIdx.y + 1],
            count = tiles[3 * blockIdx.y + 2];
  if (count == 0) return;
  __shared__ typename Type::Table table;
  __shared__ Tile<kTileTokens, kDepth> left;
  __shared__ Tile<kTileRows, kDepth> right;
  table.fill();
  const View<Type> view{weights, blocks};
  const int row = threadIdx.x / 2, half = threadIdx.x % 2, begin = blockIdx.x * kTileRows, groups = k / 32;
  const bool has_entry = row < count, has_row = begin + row < rows;
  const int64_t entry = has_entry ? (order ? order[first + row] : first + row) : 0;
  const int64_t own = (static_cast<int64_t>(place) * rows + begin + row) * groups;
  const int warp = threadIdx.x / 32, tokens_at = warp % 2 * 32, rows_at = warp / 2 * 32;
  float sums[2][4][4] = {};

  for (int g = 0; g < groups; g += kDepth / 32) {
    __syncthreads();
    const bool inside = g + half < groups;
    const auto* from = reinterpret_cast<const uint4*>(x + entry * k + 32 * (g + half));
    for (int i = 0; i < 4; ++i)
      left.set_eight(row, 32 * half + 8 * i, inside && has_entry ? __ldg(from + i) : uint4{0, 0, 0, 0});
    uint4 words[4] = {};
    if (inside && has_row) to_bf16<Type>(Type::open(view, own + g + half, table), words);
    for (int i = 0; i < 4; ++i) right.set_eight(row, 32 * half + 8 * i, words[i]);
    __syncthreads();
#pragma unroll
    for (int depth = 0; depth < kDepth; depth += 16) {
      uint32_t a[2][4], b[2];
      for (int m = 0; m < 2; ++m) left.left(tokens_at + 16 * m, depth, a[m]);
      for (int n = 0; n < 4; ++n) {
        right.right_transposed(rows_at + 8 * n, depth, b);
        for (int m = 0; m < 2; ++m) mma_bf16(sums[m][n], a[m], b);
      }
    }
  }
  for (int m = 0; m < 2; ++m)
    for (int n = 0; n < 4; ++n)
      for (int i = 0; i < 4; ++i) {
        const int token = tokens_at + 16 * m + threadIdx.x % 32 / 4 + i / 2 * 8;
        const int at = begin + rows_at + 8 * n + threadIdx.x % 4 * 2 + i % 2;
        if (token < count && at < rows) out[static_cast<int64_t>(first + token) * rows + at] = sums[m][n][i];
      }
}

}  // namespace ktd
