// What stands between products: norms, activations of feed-forward blocks, and quantising for the next
// product.
#pragma once

#include "activations.cuh"

namespace ktd {

constexpr int kNormThreads = 256;

// Sum over a block of kNormThreads, in every thread.
DEVICE float sum_of_block(float value) {
  __shared__ float warps[kNormThreads / 32];
  value = sum_of_lanes(value, 32);
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = 0.0f;
  for (int i = 0; i < kNormThreads / 32; ++i) value += warps[i];
  return value;
}

// A block per row: RMS norm of x[row * stride ...] over n values, times weight (null: one), to out [rows, n]
// as floats and to q as activations; either may be null. Then n need not, with q it must be a multiple of 32.
template <int = 0>
__global__ void __launch_bounds__(kNormThreads)
    norm(const float* x, int64_t stride, const float* weight, float eps, int n, float* out, int8_t* q,
         float* scales, float* sums) {
  x += blockIdx.x * stride;
  float square = 0.0f;
  for (int i = threadIdx.x; i < n; i += kNormThreads) square = fmaf(x[i], x[i], square);
  const float factor = 1.0f / sqrtf(sum_of_block(square) / static_cast<float>(n) + eps);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * n;
  const Quantised to{q + row, scales + row / 32, sums + row / 16};
  for (int base = 0; base < n; base += kNormThreads) {
    const int i = base + static_cast<int>(threadIdx.x);
    const bool inside = i < n;  // with q, of whole warps
    const float y = inside ? x[i] * factor * (weight ? weight[i] : 1.0f) : 0.0f;
    if (inside && out) out[row + i] = y;
    if (inside && q) to.store(i / 32, i % 32, y);
  }
}

// A warp per 32 values of x, `groups` of them in all.
template <int = 0>
__global__ void __launch_bounds__(kNormThreads)
    quantise(const float* x, int64_t groups, int8_t* q, float* scales, float* sums) {
  const int64_t group = blockIdx.x * int64_t{kNormThreads / 32} + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (group < groups) Quantised{q, scales, sums}.store(group, lane, x[32 * group + lane]);
}

enum Activation { kSilu, kGelu, kErfGelu, kClampedSilu };  // in the order of spec.Activation

// activation(gate) * up; see Gated in spec.py.
DEVICE float activated(int activation, float gate, float up) {
  switch (activation) {
    case kSilu:
      return gate / (1.0f + expf(-gate)) * up;
    case kGelu:
      return 0.5f * gate * (1.0f + tanhf(0.797884561f * fmaf(0.044715f * gate, gate * gate, gate))) * up;
    case kErfGelu:
      return 0.5f * gate * (1.0f + erff(gate * 0.707106781f)) * up;
    default:
      gate = fminf(gate, 7.0f);
      return gate / (1.0f + expf(-1.702f * gate)) * (fminf(fmaxf(up, -7.0f), 7.0f) + 1.0f);
  }
}

// What the product with up is left out by: one, which the clamped form adds itself.
DEVICE float no_up(int activation) {
  return activation == kClampedSilu ? 0.0f : 1.0f;
}

// A warp per 32 values; up may be null.
template <int = 0>
__global__ void __launch_bounds__(kNormThreads)
    activate(int activation, const float* gate, const float* up, int64_t groups, int8_t* q, float* scales,
             float* sums) {
  const int64_t group = blockIdx.x * int64_t{kNormThreads / 32} + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (group >= groups) return;
  const int64_t i = 32 * group + lane;
  Quantised{q, scales, sums}.store(group, lane,
                                   activated(activation, gate[i], up ? up[i] : no_up(activation)));
}

}  // namespace ktd
