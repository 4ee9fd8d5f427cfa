// Which experts a token takes and with what weights; see Router in spec.py. A warp, which is a block, per
// token.
#pragma once

#include "simt.cuh"

namespace ktd {

constexpr int kMostExperts = 512;
constexpr int kMostGroups = 32;
constexpr float kLowest = -3.402823466e+38f;  // of what may not be chosen, and of scores that are not numbers

// The scores of a token, expert 32 i + lane in own[i], from logits in the same places.
DEVICE void to_scores(bool sigmoid, int experts, float (&own)[kMostExperts / 32]) {
  const int lane = threadIdx.x;
  float peak = kLowest, sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kMostExperts / 32; ++i)
    if (32 * i + lane < experts) peak = fmaxf(peak, own[i]);
  peak = max_of_lanes(peak, 32);
#pragma unroll
  for (int i = 0; i < kMostExperts / 32; ++i) {
    if (32 * i + lane >= experts) continue;
    own[i] = sigmoid ? 1.0f / (1.0f + expf(-own[i])) : expf(own[i] - peak);
    sum += own[i];
  }
  sum = sum_of_lanes(sum, 32);
  if (sigmoid) return;
#pragma unroll
  for (int i = 0; i < kMostExperts / 32; ++i) own[i] /= sum;
}

// What a group is worth: its best choice, or the sum of its two best.
DEVICE float worth_of(const float* choice, int size, bool top2) {
  float first = kLowest, second = kLowest;
  for (int i = 0; i < size; ++i) {
    second = fmaxf(second, fminf(first, choice[i]));
    first = fmaxf(first, choice[i]);
  }
  return top2 && size > 1 ? first + second : first;
}

// Experts outside the best groups drop out of the choice; the lower of equal groups is better.
DEVICE void keep_best_groups(float* choice, int experts, int groups, int used, bool top2) {
  __shared__ float worths[kMostGroups];
  const int lane = threadIdx.x, size = experts / groups;
  if (lane < groups) worths[lane] = worth_of(choice + lane * size, size, top2);
  __syncthreads();
  int better = 0;
  for (int g = 0; g < groups && lane < groups; ++g)
    better += worths[g] > worths[lane] || (worths[g] == worths[lane] && g < lane);
  for (int i = 0; i < size && lane < groups && better >= used; ++i) choice[lane * size + i] = kLowest;
  __syncthreads();
}

template <int = 0>
__global__ void __launch_bounds__(32)
    route(const float* logits, const float* logits_bias, const float* bias, int experts, int used, int groups,
          int groups_used, int sigmoid, int top2, int normalise, float scale, int32_t* ids, float* factors) {
  __shared__ float choice[kMostExperts];
  const int lane = threadIdx.x;
  float own[kMostExperts / 32];
  logits += static_cast<int64_t>(blockIdx.x) * experts;
#pragma unroll
  for (int i = 0; i < kMostExperts / 32; ++i) {
    const int e = 32 * i + lane;
    own[i] = e < experts ? logits[e] + (logits_bias ? logits_bias[e] : 0.0f) : 0.0f;
  }
  to_scores(sigmoid != 0, experts, own);
#pragma unroll
  for (int i = 0; i < kMostExperts / 32; ++i) {
    const int e = 32 * i + lane;
    const float biased = own[i] + (bias && e < experts ? bias[e] : 0.0f);
    choice[e] = biased == biased ? biased : kLowest;
  }
  __syncthreads();
  if (groups > 1) keep_best_groups(choice, experts, groups, groups_used, top2 != 0);

  uint32_t taken = 0;  // a bit for every one of this lane's
  float sum = 0.0f, mine = 0.0f;
  for (int round = 0; round < used; ++round) {
    float best = 0.0f, score = 0.0f;
    int at = kMostExperts;  // nobody's
#pragma unroll
    for (int i = 0; i < kMostExperts / 32; ++i) {
      const int e = 32 * i + lane;
      if (e >= experts || (taken >> i & 1u) != 0u || (at < kMostExperts && choice[e] <= best)) continue;
      best = choice[e], score = own[i], at = e;
    }
    for (int other = 16; other > 0; other /= 2) {
      const float their = __shfl_xor_sync(kAllLanes, best, other),
                  theirs = __shfl_xor_sync(kAllLanes, score, other);
      const int where = __shfl_xor_sync(kAllLanes, at, other);
      const bool better = at == kMostExperts || their > best || (their == best && where < at);
      if (where == kMostExperts || !better) continue;
      best = their, score = theirs, at = where;
    }
    if (at % 32 == lane) taken |= 1u << at / 32;
    if (round == lane) mine = score;
    if (lane == 0) ids[static_cast<int64_t>(blockIdx.x) * used + round] = at;
    sum += score;
  }
  const float factor = normalise ? scale / fmaxf(sum, 1e-20f) : scale;
  if (lane < used) factors[static_cast<int64_t>(blockIdx.x) * used + lane] = mine * factor;
}

}  // namespace ktd
