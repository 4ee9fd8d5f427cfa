// The feed-forward blocks that a router chose, for one to a few tokens: gate, up and activation in one
// launch, down and the weighted sum in another. A dense block is a stack of one.
#pragma once

#include "activations.cuh"
#include "elementwise.cuh"
#include "team.cuh"
#include "types.cuh"

namespace ktd {

// Where in a stack the matrix of an expert stands: -1 when it is not on this device. Without `places` all
// are.
DEVICE int place_of(const int32_t* places, int expert) {
  return places ? places[expert] : expert;
}

// The sum of one row's groups that this lane takes, in the order of rising groups.
template <class Type>
DEVICE float lane_product(const View<Type>& view, const typename Type::Table& table, int64_t row, int groups,
                          const Activations& x, int64_t x_row, const Team& team) {
  float sum = 0.0f;
#pragma unroll 2
  for (int g = team.lane(); g < groups; g += team.lanes)
    add_product<Type>(Type::open(view, row * groups + g, table), x, x_row * groups + g, sum);
  return sum;
}

constexpr int kRowsOfBlock = 32;  // what one scale of the activations for `down` covers

// A block per entry (token * used + choice, blockIdx.y) and 32 rows (blockIdx.x):
// to [entries, width] = activation(gate . x + gate_bias) * (up . x + up_bias), quantised. Up and biases may
// be null. Entries whose expert is elsewhere are left as they are. The width is a multiple of 32.
template <class Gate, class Up>
__global__ void __launch_bounds__(kThreads, kBlocks)
    gate_up(const uint8_t* gate, int64_t gate_blocks, const uint8_t* up, int64_t up_blocks, int k, int width,
            const int32_t* ids, const int32_t* places, int used, const int8_t* q, const float* scales,
            const float* sums, int activation, const float* gate_bias, const float* up_bias, int8_t* to_q,
            float* to_scales, float* to_sums) {
  const int entry = blockIdx.y, expert = ids[entry], place = place_of(places, expert);
  if (place < 0) return;
  __shared__ Tables<Gate, Up> tables;
  __shared__ float found[2][kRowsOfBlock];
  tables.fill();
  const Activations x{q, scales, sums};
  const Team warp{32};
  const int first = blockIdx.x * kRowsOfBlock, groups = k / 32, token = entry / used;

  for (int i = warp.index(); i < kRowsOfBlock; i += warp.count()) {
    const int64_t row = static_cast<int64_t>(place) * width + first + i;
    const float g = lane_product<Gate>({gate, gate_blocks}, tables.first, row, groups, x, token, warp);
    const float u =
        up ? lane_product<Up>({up, up_blocks}, tables.second(), row, groups, x, token, warp) : 0.0f;
    const float gate_sum = sum_of_lanes(g, 32), up_sum = sum_of_lanes(u, 32);
    if (warp.lane() == 0) found[0][i] = gate_sum, found[1][i] = up ? up_sum : no_up(activation);
  }
  __syncthreads();
  if (warp.index() != 0) return;
  const int lane = warp.lane(), row = first + lane;
  float g = found[0][lane], u = found[1][lane];
  if (gate_bias) g += gate_bias[static_cast<int64_t>(expert) * width + row];
  if (up_bias) u += up_bias[static_cast<int64_t>(expert) * width + row];
  Quantised{to_q, to_scales, to_sums}.store((static_cast<int64_t>(entry) * width + first) / 32, lane,
                                            activated(activation, g, u));
}

// A team per row, tokens in blockIdx.y: out [tokens, rows] = sum over the choices of factor * (down . x +
// bias), in their order, added to what is there with `add`. Experts that are elsewhere add nothing.
template <class Type>
__global__ void __launch_bounds__(kThreads, kBlocks)
    down(const uint8_t* weights, int64_t blocks, int k, int rows, const int32_t* ids, const int32_t* places,
         int used, const float* factors, const int8_t* q, const float* scales, const float* sums,
         const float* bias, float* out, int add, int lanes) {
  __shared__ typename Type::Table table;
  table.fill();
  const View<Type> view{weights, blocks};
  const Activations x{q, scales, sums};
  const Team team{lanes};
  const int token = blockIdx.y, groups = k / 32;

  for (int base = blockIdx.x * team.count(); base < rows; base += gridDim.x * team.count()) {
    const int row = min(base + team.index(), rows - 1);
    float sum = 0.0f;
    for (int entry = token * used; entry < (token + 1) * used; ++entry) {
      const int expert = ids[entry], place = place_of(places, expert);
      if (place < 0) continue;
      const int64_t at = static_cast<int64_t>(place) * rows + row;
      float part = lane_product<Type>(view, table, at, groups, x, entry, team);
      if (bias && team.lane() == 0) part += bias[static_cast<int64_t>(expert) * rows + row];
      sum = fmaf(factors[entry], part, sum);
    }
    const float total = team.sum(sum);
    if (team.lane() != 0 || base + team.index() >= rows) continue;
    float& to = out[static_cast<int64_t>(token) * rows + row];
    to = add ? to + total : total;
  }
}

}  // namespace ktd
