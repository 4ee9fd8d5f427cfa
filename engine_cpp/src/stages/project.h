// A phase of matrix products: rows of one or more weights times all tokens, cut into tiles.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "kernels/table.h"
#include "machine/pool.h"
#include "stages/activations.h"
#include "weights/tensor.h"

namespace ktd {

inline constexpr int64_t kTileRows =
    32;  // one block of the int8 activations: a tile can publish what it made
inline constexpr int64_t kTileTokens = 512;  // so many that unpacking a weight costs nothing beside using it

struct Tile {
  int64_t row, rows;      // of the weight
  int64_t token, tokens;  // of the step
};

// The tiles of `rows` x `tokens`, tokens fastest: neighbours share their weight rows.
class Tiling {
 public:
  Tiling(int64_t rows, int64_t tokens)
      : rows_(rows), tokens_(tokens), across_((tokens + kTileTokens - 1) / kTileTokens) {}

  int64_t count() const { return (rows_ + kTileRows - 1) / kTileRows * across_; }
  Tile at(int64_t i) const {
    const int64_t row = i / across_ * kTileRows, token = i % across_ * kTileTokens;
    return {row, std::min(kTileRows, rows_ - row), token, std::min(kTileTokens, tokens_ - token)};
  }

 private:
  int64_t rows_, tokens_, across_;
};

// out[token * stride + row] = weight row . input row of the token.
struct Projection {
  const Matrix& weight;
  const Activations& input;
  float* out;
  int64_t stride;
};

inline void multiply(const Kernels& kernels, const Matrix& weight, const Activations& input, const Tile& tile,
                     float* out, int64_t stride) {
  const auto type = static_cast<size_t>(weight.traits->type);
  kernels.matmul[type]({.rows = weight.row(tile.row),
                        .row_bytes = weight.row_bytes,
                        .n_rows = tile.rows,
                        .k = weight.k,
                        .acts = input.data(weight.traits, tile.token),
                        .act_bytes = input.row_bytes(weight.traits),
                        .gather = nullptr,
                        .n_tokens = tile.tokens,
                        .out = out,
                        .out_stride = stride});
}

// out[token * stride + row] = row of the `which`-th matrix of a stack . input row, for the first `tokens`.
inline void multiply(const Kernels& kernels, const Matrix& stack, int64_t which, const Activations& input,
                     int64_t tokens, float* out, int64_t stride) {
  Matrix one = stack;
  one.data = stack.row(0, which);
  one.parts = nullptr;
  multiply(kernels, one, input, {0, stack.rows, 0, tokens}, out, stride);
}

// One phase: all projections over all tokens.
inline void project(Team& team, const Kernels& kernels, std::initializer_list<Projection> parts,
                    int64_t tokens) {
  int64_t total = 0;
  for (const auto& part : parts) total += Tiling(part.weight.rows, tokens).count();
  team.each(total, [&](int64_t i) {
    for (const auto& part : parts) {
      const Tiling tiling(part.weight.rows, tokens);
      if (i >= tiling.count()) {
        i -= tiling.count();
        continue;
      }
      const Tile tile = tiling.at(i);
      return multiply(kernels, part.weight, part.input, tile, part.out + tile.token * part.stride + tile.row,
                      part.stride);
    }
  });
}

// One phase: hidden += weight . input, for all tokens.
inline void project_onto(Team& team, const Kernels& kernels, const Matrix& weight, const Activations& input,
                         float* hidden, int64_t tokens) {
  const Tiling tiling(weight.rows, tokens);
  team.each(tiling.count(), [&](int64_t i) {
    const Tile tile = tiling.at(i);
    float product[kTileTokens * kTileRows];
    multiply(kernels, weight, input, tile, product, kTileRows);
    for (int64_t t = 0; t < tile.tokens; ++t)
      kernels.axpy(1.0f, product + t * kTileRows, hidden + (tile.token + t) * weight.rows + tile.row,
                   tile.rows);
  });
}

}  // namespace ktd
