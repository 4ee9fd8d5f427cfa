#include "stages/gated.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "stages/project.h"

namespace ktd {
namespace {

const Share& share_of_tile(const Share* shares, int64_t n, int64_t tile) {
  return *(std::upper_bound(shares, shares + n, tile,
                            [](int64_t at, const Share& share) { return at < share.tiles_before; }) -
           1);
}

// A product for some tokens of a share, its input rows gathered or in order.
void multiply_share(const Kernels& kernels, const Matrix& stack, const Share& share, const Activations& input,
                    int64_t input_row, const int32_t* gather, const Tile& tile, float* out) {
  kernels.matmul[static_cast<size_t>(stack.traits->type)]({.rows = stack.row(tile.row, share.which),
                                                           .row_bytes = stack.row_bytes,
                                                           .n_rows = tile.rows,
                                                           .k = stack.k,
                                                           .acts = input.data(stack.traits, input_row),
                                                           .act_bytes = input.row_bytes(stack.traits),
                                                           .gather = gather,
                                                           .n_tokens = tile.tokens,
                                                           .out = out,
                                                           .out_stride = kTileRows});
}

// `row` of a bias of `width` values per block.
const float* bias_at(const float* bias, const Share& share, int64_t width, int64_t row) {
  return bias ? bias + share.which * width + row : nullptr;
}

void add(const Kernels& kernels, const float* bias, float* x, int64_t n) {
  if (bias) kernels.axpy(1.0f, bias, x, n);
}

// Rewrites gate and up so that silu(gate) * up is what the activation makes of them.
void to_silu(Activation activation, float* gate, float* up, int64_t n) {
  switch (activation) {
    case Activation::Silu:
    case Activation::ErfGelu:
      return;
    case Activation::Gelu:  // g sigmoid(t) with t = g * slope
      for (int64_t i = 0; i < n; ++i) {
        const float slope = 1.59576912f + 0.0713548163f * gate[i] * gate[i];
        gate[i] *= slope;
        up[i] /= slope;
      }
      return;
    case Activation::ClampedSilu:
      for (int64_t i = 0; i < n; ++i) {
        gate[i] = 1.702f * std::min(gate[i], 7.0f);
        up[i] = (std::clamp(up[i], -7.0f, 7.0f) + 1.0f) / 1.702f;
      }
  }
}

// out = activation(gate) * up; gate and up are overwritten.
void activate(const Kernels& kernels, Activation activation, float* gate, float* up, float* out, int64_t n) {
  if (activation == Activation::ErfGelu) {
    for (int64_t i = 0; i < n; ++i)
      out[i] = 0.5f * gate[i] * (1.0f + std::erf(gate[i] * 0.707106781f)) * up[i];
    return;
  }
  to_silu(activation, gate, up, n);
  kernels.silu_mul(gate, up, out, n);
}

void gate_up_tile(const Kernels& kernels, const Activations& input, const Share& share, const Tile& tile) {
  float gate[kTileTokens * kTileRows], up[kTileTokens * kTileRows];
  const int32_t* gather = share.tokens ? share.tokens + tile.token : nullptr;
  const int64_t row = share.tokens ? 0 : tile.token, width = share.stack->width();
  const float* gate_bias = bias_at(share.stack->gate_bias, share, width, tile.row);
  const float* up_bias = bias_at(share.stack->up_bias, share, width, tile.row);
  multiply_share(kernels, share.stack->gate, share, input, row, gather, tile, gate);
  if (share.stack->up)
    multiply_share(kernels, *share.stack->up, share, input, row, gather, tile, up);
  else
    std::fill_n(up, tile.tokens * kTileRows, 1.0f);
  for (int64_t t = 0; t < tile.tokens; ++t) {
    const int64_t slot = share.first + tile.token + t;
    float *g = gate + t * kTileRows, *u = up + t * kTileRows;
    add(kernels, gate_bias, g, tile.rows);
    add(kernels, up_bias, u, tile.rows);
    activate(kernels, share.stack->activation, g, u, share.inner->row(slot) + tile.row, tile.rows);
    share.inner->publish(kernels, slot, tile.row, tile.rows);
  }
}

void down_tile(const Kernels& kernels, const Share& share, const Tile& tile, float* hidden) {
  const Matrix& down = share.stack->down;
  const float* bias = bias_at(share.stack->down_bias, share, down.rows, tile.row);
  float product[kTileTokens * kTileRows];
  multiply_share(kernels, down, share, *share.inner, share.first + tile.token, nullptr, tile, product);
  for (int64_t t = 0; t < tile.tokens; ++t) {
    const int64_t at = tile.token + t, token = share.tokens ? share.tokens[at] : at;
    add(kernels, bias, product + t * kTileRows, tile.rows);
    kernels.axpy(share.weights ? share.weights[at] : 1.0f, product + t * kTileRows,
                 hidden + token * down.rows + tile.row, tile.rows);
  }
}

}  // namespace

void check_gated(const Gated& gated, const std::string& name) {
  if (gated.down.traits->act == ActFormat::Q8 && gated.width() % kTileRows != 0)
    throw EngineError("tensor " + name + ": quantised, but its " + std::to_string(gated.width()) +
                      " inputs are not a multiple of " + std::to_string(kTileRows));
}

int64_t count_tiles(Share* shares, int64_t n) {
  int64_t tiles = 0;
  for (int64_t i = 0; i < n; ++i) {
    shares[i].tiles_before = tiles;
    tiles += Tiling(shares[i].stack->width(), shares[i].count).count();
  }
  return tiles;
}

void run_gate_up(Team& team, const Kernels& kernels, const Activations& input, const Share* shares, int64_t n,
                 int64_t tiles) {
  team.each(tiles, [&](int64_t i) {
    const Share& share = share_of_tile(shares, n, i);
    gate_up_tile(kernels, input, share, Tiling(share.stack->width(), share.count).at(i - share.tiles_before));
  });
}

void run_down(Team& team, const Kernels& kernels, const Share* shares, int64_t n, float* hidden) {
  const int64_t dim = shares[0].stack->down.rows;
  team.each((dim + kTileRows - 1) / kTileRows, [&](int64_t i) {
    const int64_t row = i * kTileRows, rows = std::min(kTileRows, dim - row);
    for (int64_t s = 0; s < n; ++s)
      for (int64_t token = 0; token < shares[s].count; token += kTileTokens)
        down_tile(kernels, shares[s], {row, rows, token, std::min(kTileTokens, shares[s].count - token)},
                  hidden);
  });
}

}  // namespace ktd
