// Activations as the products take them, and 32 of them against 32 weights.
#pragma once

#include "weights.cuh"

namespace ktd {

// Rows of k activations, k a multiple of 32: x[i] is about scales[i / 32] * q[i]. Scales are floats, because
// the 1e4-sized activations of DeepSeek overflow a half.
struct Activations {
  const int8_t* q;      // [rows, k] in [-127, 127]
  const float* scales;  // [rows, k / 32]
  const float* sums;    // [rows, k / 16] scale * sum of 16 q: what the offset of a weight multiplies
};

// Where activations are written; as Activations.
struct Quantised {
  int8_t* q;
  float* scales;
  float* sums;

  // Called by a whole warp, whose lane has activation 32 * group + lane. Rounds as the CPU's kernels do:
  // blocks of nothing above kTiny are zero, for 127 / top would overflow; what is not finite makes the scale
  // so.
  DEVICE void store(int64_t group, int lane, float x) const {
    constexpr float kTiny = 0x1p-100f;
    const float top = max_of_lanes(fabsf(x), 32), poison = sum_of_lanes(x * 0.0f, 32);
    const float inverse = top > kTiny ? 127.0f / top : 0.0f;
    const float scale = (top > kTiny ? top / 127.0f : 0.0f) + poison;
    const float code = rintf(fmaxf(-127.0f, fminf(x * inverse, 127.0f)));
    q[32 * group + lane] = static_cast<int8_t>(code);
    const float sum = sum_of_lanes(code, 16);
    if (lane == 0) scales[group] = scale;
    if (lane % 16 == 0) sums[2 * group + lane / 16] = scale * sum;
  }
};

// sum += weights . activations of one group. Every step is spelled out, so that a token's sum keeps every bit
// whatever else is computed beside it.
template <class Type>
DEVICE void add_product(const Group& weights, const Activations& x, int64_t group, float& sum) {
  const uint4* words = reinterpret_cast<const uint4*>(x.q) + 2 * group;
  const uint4 a = __ldg(words), b = __ldg(words + 1);
  const int (&w)[8] = weights.lanes;
  const int first =
      __dp4a(w[3], static_cast<int>(a.w),
             __dp4a(w[2], static_cast<int>(a.z),
                    __dp4a(w[1], static_cast<int>(a.y), __dp4a(w[0], static_cast<int>(a.x), 0))));
  const int both =
      __dp4a(w[7], static_cast<int>(b.w),
             __dp4a(w[6], static_cast<int>(b.z),
                    __dp4a(w[5], static_cast<int>(b.y), __dp4a(w[4], static_cast<int>(b.x), first))));
  const float scale = __ldg(x.scales + group);
  if constexpr (Type::kHalves) {
    const float dot = fmaf(weights.scale[0], static_cast<float>(first),
                           __fmul_rn(weights.scale[1], static_cast<float>(both - first)));
    sum = fmaf(scale, dot, sum);
  } else {
    sum = fmaf(__fmul_rn(scale, weights.scale[0]), static_cast<float>(both), sum);
  }
  if constexpr (Type::kOffset) {
    const float2 sums = __ldg(reinterpret_cast<const float2*>(x.sums) + group);
    sum = fmaf(weights.offset[0], sums.x, sum);
    sum = fmaf(weights.offset[Type::kHalves ? 1 : 0], sums.y, sum);
  }
}

}  // namespace ktd
