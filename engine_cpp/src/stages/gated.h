// The two phases that all feed-forward blocks share: gate and up with activation, then down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "machine/pool.h"
#include "stages/activations.h"
#include "weights/tensor.h"

namespace ktd {

// Silu: g sigmoid(g). Gelu: its tanh form. ErfGelu: the exact one. ClampedSilu: of gpt-oss,
// g sigmoid(1.702 g) (u + 1) with g at most 7 and u within 7 of zero.
enum class Activation { Silu, Gelu, ErfGelu, ClampedSilu };

// down(activation(gate(x)) * up(x)), or a stack of such blocks. Without up the product is left out.
struct Gated {
  Matrix gate;
  std::optional<Matrix> up;
  Matrix down;
  Activation activation;
  const float *gate_bias, *up_bias;  // [width] of each block, or null
  const float* down_bias;            // [dim] of each block, or null
  int64_t width() const { return gate.rows; }
  Formats inputs() const {
    const Formats wanted = Formats().add(gate.traits);
    return up ? Formats(wanted).add(up->traits) : wanted;
  }
};

// The tokens that one block of a stack works on in this step.
struct Share {
  const Gated* stack;
  int64_t which;             // block of the stack
  int64_t count;             // tokens
  const int32_t* tokens;     // [count]; null: all in order
  const float* weights;      // [count] factors of the block's output; null: one
  const Activations* inner;  // [.., width] what gate and up make; this share's rows start at `first`
  int64_t first;
  int64_t tiles_before;  // of the shares before this one, in the first phase
};

// Throws EngineError unless the weights fit a quantised intermediate; `name` of the down matrix is for the
// message.
void check_gated(const Gated& gated, const std::string& name);

// Fills in tiles_before; returns the tiles of all shares.
int64_t count_tiles(Share* shares, int64_t n);

// Phase: inner = activation(gate . x) * up . x for every share.
void run_gate_up(Team& team, const Kernels& kernels, const Activations& input, const Share* shares, int64_t n,
                 int64_t tiles);

// Phase: hidden[token] += weight * down . inner, shares in order for every row, so sums never depend on the
// threads.
void run_down(Team& team, const Kernels& kernels, const Share* shares, int64_t n, float* hidden);

}  // namespace ktd
