// What happens to a vector of a head before attention: norm, rotation, and its way to the cache.
#pragma once

#include "cells.cuh"

namespace ktd {

constexpr int kTurnThreads = 128;

// A warp per token and head: x, `size` values from x + token * stride + head * size on, is RMS-normed (norm
// null: it is not), and of it `2 * pairs` values from `at` on are rotated by position * frequency. It stays
// where it is, or, with a cache, goes to column `column + head * size` of the token's row.
template <class Cell>
__global__ void __launch_bounds__(kTurnThreads)
    turn(float* x, int64_t stride, int tokens, int heads, int size, const float* norm, float eps, int at,
         int pairs, const float* frequencies, float magnitude, int adjacent, const int32_t* positions,
         const int32_t* sequences, const int32_t* pages, int columns, int page_tokens,
         typename Cell::Word* cache, int width, int column) {
  const int item = static_cast<int>((blockIdx.x * kTurnThreads + threadIdx.x) / 32), lane = threadIdx.x % 32;
  if (item >= tokens * heads) return;
  const int token = item / heads, head = item % heads, position = positions[token];
  x += token * stride + static_cast<int64_t>(head) * size;
  float square = 0.0f;
  for (int i = lane; i < size && norm; i += 32) square = fmaf(x[i], x[i], square);
  const float factor = norm ? 1.0f / sqrtf(sum_of_lanes(square, 32) / static_cast<float>(size) + eps) : 1.0f;

  typename Cell::Word* row = nullptr;
  if (cache)
    row = cache + Pages{pages, columns, page_tokens}.slot(sequences[token], position) * width + column +
          static_cast<int64_t>(head) * size;
  const auto value = [&](int i) { return norm ? x[i] * factor * norm[i] : x[i]; };
  const auto store = [&](int i, float y) {
    if (row)
      row[i] = Cell::of(y);
    else
      x[i] = y;
  };
  for (int i = lane; i < size; i += 32)
    if (i < at || i >= at + 2 * pairs) store(i, value(i));
  for (int i = lane; i < pairs; i += 32) {
    const int first = at + (adjacent ? 2 * i : i), second = first + (adjacent ? 1 : pairs);
    const float angle = static_cast<float>(position) * frequencies[i], a = value(first), b = value(second);
    const float cosine = magnitude * cosf(angle), sine = magnitude * sinf(angle);
    store(first, a * cosine - b * sine);
    store(second, b * cosine + a * sine);
  }
}

}  // namespace ktd
