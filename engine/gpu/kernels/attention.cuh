// Decode: the queries of single tokens over the pages of their sequences, by tensor cores, in splits of the
// cache.
//
// A block takes 16 query heads that share a key head, and one split. Per 16 tokens of the cache: scores of 16
// x 16 from the four warps' parts of the key, one step of the running softmax, and the mix of the values, of
// which each warp keeps a quarter of the columns in registers. Latent attention (MLA, absorbed) is one key
// head whose values are the first columns of its keys; grouped attention (GQA) has values of their own.
#pragma once

#include "cells.cuh"
#include "tiles.cuh"

namespace ktd {

constexpr int kAttendThreads = 128;
constexpr int kWarps = kAttendThreads / 32;
constexpr int kHeads = 16;                  // of a block
constexpr int kKeys = 16;                   // of the cache at a time
constexpr float kNone = -3.402823466e+38f;  // a score that takes no share

// Columns `column` .. + kWidth of the cache rows of `count` positions; rows behind are zeros.
template <class Cell, int kWidth>
DEVICE void load_rows(const typename Cell::Word* cache, int width, int column, const Pages& pages,
                      int sequence, int first, int count, Tile<kKeys, kWidth>& tile) {
  constexpr int kEights = kWidth / 8;
  for (int i = threadIdx.x; i < kKeys * kEights; i += kAttendThreads) {
    const int row = i / kEights, at = i % kEights * 8;
    uint4 eight{0, 0, 0, 0};
    if (row < count) eight = Cell::eight(cache + pages.slot(sequence, first + row) * width + column + at);
    tile.set_eight(row, at, eight);
  }
}

struct Softmax {
  float scale, softcap;
  float peak = kNone, sum = 0.0f;  // of this thread's row, the same in its eight threads

  DEVICE float score(float dot) const {
    dot *= scale;
    return softcap > 0.0f ? softcap * tanhf(dot / softcap) : dot;
  }
};

// q [tokens, kv_heads * group, kKey]; a cache row has `width` values: the key of head h from h * kKey on and,
// but for latent attention, its value from value_at + h * kValue on. A token sees positions up to its own,
// with `window` the last so many. Split i covers positions i * chunk .. + chunk, and writes of every token
// and head found [tokens, heads, splits, kValue] and stats [tokens, heads, splits, 2]: largest score, sum of
// shares.
template <class Cell, int kKey, int kValue, int kLatent>
__global__ void __launch_bounds__(kAttendThreads, 2)
    attend(const float* q, const typename Cell::Word* cache, int width, int value_at, int kv_heads, int group,
           const int32_t* pages, int columns, int page_tokens, const int32_t* sequences,
           const int32_t* positions, int window, float scale, float softcap, int chunk, float* found,
           float* stats) {
  static_assert(kKey % 16 == 0 && kValue % 8 == 0 && (!kLatent || kValue <= kKey));
  constexpr int kMine = (kValue / 8 + kWarps - 1) / kWarps;  // column tiles of a warp
  __shared__ Tile<kHeads, kKey> queries;
  __shared__ Tile<kKeys, kKey> keys;
  __shared__ Tile<kKeys, kLatent ? 8 : kValue> own_values;
  __shared__ Tile<kHeads, kKeys> shares;
  __shared__ float scores[kWarps][kHeads][kKeys + 1];
  __shared__ float fading[kHeads];  // by how much what was found so far counts less

  const int tiles = (group + kHeads - 1) / kHeads, kv_head = blockIdx.y / tiles, token = blockIdx.z;
  const int in_group = blockIdx.y % tiles * kHeads, count = min(kHeads, group - in_group);
  const int heads = kv_heads * group, head = kv_head * group + in_group, splits = gridDim.x;
  const int end = positions[token] + 1, sequence = sequences[token];
  const int first = max(static_cast<int>(blockIdx.x) * chunk, window > 0 ? end - window : 0);
  const int last = min((static_cast<int>(blockIdx.x) + 1) * chunk, end);
  const int64_t piece = (static_cast<int64_t>(token) * heads + head) * splits + blockIdx.x;
  const int row = threadIdx.x / 8, lane = threadIdx.x % 8;  // in a step of the softmax
  const int warp = threadIdx.x / 32;
  Softmax softmax{scale, softcap};

  const float* own = q + (static_cast<int64_t>(token) * heads + head) * kKey;
  for (int i = threadIdx.x; i < kHeads * kKey; i += kAttendThreads)
    queries.at(i / kKey, i % kKey) = float_to_bf16(i / kKey < count ? own[i] : 0.0f);
  float mixed[kMine][4] = {};
  for (int base = first; base < last; base += kKeys) {
    __syncthreads();  // nobody reads the tiles of the round before
    const int seen = min(kKeys, last - base);
    const Pages where{pages, columns, page_tokens};
    load_rows<Cell, kKey>(cache, width, kv_head * kKey, where, sequence, base, seen, keys);
    if constexpr (!kLatent)
      load_rows<Cell, kValue>(cache, width, value_at + kv_head * kValue, where, sequence, base, seen,
                              own_values);
    __syncthreads();

    float part[2][4] = {};
#pragma unroll 3
    for (int k = 16 * warp; k < kKey; k += 16 * kWarps) {
      uint32_t a[4], b[2];
      queries.left(0, k, a);
      for (int half = 0; half < 2; ++half) {
        keys.right_transposed(8 * half, k, b);
        mma_bf16(part[half], a, b);
      }
    }
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4 * 2;
    for (int i = 0; i < 8; ++i) scores[warp][g + i / 2 % 2 * 8][i / 4 * 8 + t + i % 2] = part[i / 4][i % 4];
    __syncthreads();

    float score[2], peak = softmax.peak, sum = 0.0f;
    for (int i = 0; i < 2; ++i) {
      const int key = lane + 8 * i;
      float dot = 0.0f;
      for (int w = 0; w < kWarps; ++w) dot += scores[w][row][key];
      score[i] = key < seen ? softmax.score(dot) : kNone;
      peak = fmaxf(peak, score[i]);
    }
    peak = max_of_lanes(peak, 8);
    for (int i = 0; i < 2; ++i) {
      const uint16_t share = float_to_bf16(expf(score[i] - peak));
      shares.at(row, lane + 8 * i) = share;
      sum += bf16_to_float(share);  // what is mixed, so that the shares are of one whole
    }
    const float fade = expf(softmax.peak - peak);
    softmax.sum = fmaf(softmax.sum, fade, sum_of_lanes(sum, 8));
    softmax.peak = peak;
    if (lane == 0) fading[row] = fade;
    __syncthreads();

    uint32_t a[4];
    shares.left(0, 0, a);
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      const int n = 8 * (warp + i * kWarps);
      if (n >= kValue) break;
      uint32_t b[2];
      if constexpr (kLatent)
        keys.right(n, b);
      else
        own_values.right(n, b);
      for (int j = 0; j < 4; ++j) mixed[i][j] *= fading[g + j / 2 * 8];
      mma_bf16(mixed[i], a, b);
    }
  }

  if (row < count && lane == 0) {
    stats[2 * (piece + static_cast<int64_t>(row) * splits)] = softmax.peak;
    stats[2 * (piece + static_cast<int64_t>(row) * splits) + 1] = softmax.sum;
  }
  if (first >= last) return;
#pragma unroll
  for (int i = 0; i < kMine; ++i)
    for (int j = 0; j < 4; ++j) {
      const int h = threadIdx.x % 32 / 4 + j / 2 * 8;
      const int column = 8 * (warp + i * kWarps) + threadIdx.x % 4 * 2 + j % 2;
      if (h < count && column < kValue)
        found[(piece + static_cast<int64_t>(h) * splits) * kValue + column] = mixed[i][j];
    }
}

// A block per token and head: what the splits found, as one: out [tokens, heads, value]. A sink (null: none)
// is a score per head that takes its part and has no value.
template <int = 0>
__global__ void __launch_bounds__(kAttendThreads)
    merge(const float* found, const float* stats, int heads, int splits, int value, const float* sinks,
          float* out) {
  const int64_t item = static_cast<int64_t>(blockIdx.y) * heads + blockIdx.x;
  const float* own = stats + 2 * item * splits;
  const float sink = sinks ? sinks[blockIdx.x] : kNone;
  float peak = sink, total = 0.0f;
  for (int i = 0; i < splits; ++i) peak = fmaxf(peak, own[2 * i]);
  for (int i = 0; i < splits; ++i) total = fmaf(own[2 * i + 1], expf(own[2 * i] - peak), total);
  if (sinks) total += expf(sink - peak);
  for (int column = threadIdx.x; column < value; column += kAttendThreads) {
    float sum = 0.0f;
    for (int i = 0; i < splits; ++i)
      if (own[2 * i + 1] > 0.0f)
        sum = fmaf(found[(item * splits + i) * value + column], expf(own[2 * i] - peak), sum);
    out[item * value + column] = sum / total;
  }
}

}  // namespace ktd
