// Tiles of bf16 in shared memory, and the fragments of tensor cores in them.
#pragma once

#include "simt.cuh"

namespace ktd {

// Rows of bf16 in shared memory, eight values apart from a multiple of 32 banks.
template <int kRows, int kWidth>
struct Tile {
  static constexpr int kStride = kWidth + 8;
  alignas(16) uint16_t values[kRows * kStride];

  DEVICE uint16_t& at(int row, int column) { return values[row * kStride + column]; }
  DEVICE uint32_t pair(int row, int column) const {
    return *reinterpret_cast<const uint32_t*>(values + row * kStride + column);
  }
  DEVICE void set_eight(int row, int column, uint4 eight) {
    *reinterpret_cast<uint4*>(values + row * kStride + column) = eight;
  }
  // The fragment of mma_bf16 for columns k .. k + 15 of rows m .. m + 15 as a.
  DEVICE void left(int m, int k, uint32_t (&a)[4]) const {
    const int row = m + threadIdx.x % 32 / 4, t = k + threadIdx.x % 4 * 2;
    a[0] = pair(row, t), a[1] = pair(row + 8, t), a[2] = pair(row, t + 8), a[3] = pair(row + 8, t + 8);
  }
  // Rows n .. n + 7 as the columns of b, so that the product is with the transposed.
  DEVICE void right_transposed(int n, int k, uint32_t (&b)[2]) const {
    const int row = n + threadIdx.x % 32 / 4, t = k + threadIdx.x % 4 * 2;
    b[0] = pair(row, t), b[1] = pair(row, t + 8);
  }
  // Columns n .. n + 7 of rows 0 .. 15 as b.
  DEVICE void right(int n, uint32_t (&b)[2]) const {
    const int column = n + threadIdx.x % 32 / 4, t = threadIdx.x % 4 * 2;
    const auto two = [&](int row) {
      return values[row * kStride + column] | static_cast<uint32_t>(values[(row + 1) * kStride + column])
                                                  << 16;
    };
    b[0] = two(t), b[1] = two(t + 8);
  }
};

}  // namespace ktd
