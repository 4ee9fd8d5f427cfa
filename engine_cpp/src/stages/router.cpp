#include "stages/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace ktd {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();

void to_scores(Gating gating, float* logits, int64_t n) {
  if (gating == Gating::Sigmoid) {
    for (int64_t i = 0; i < n; ++i) logits[i] = 1.0f / (1.0f + std::exp(-logits[i]));
    return;
  }
  const float peak = *std::max_element(logits, logits + n);
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += logits[i] = std::exp(logits[i] - peak);
  for (int64_t i = 0; i < n; ++i) logits[i] /= sum;
}

// The `count` best of n by score, best first, lower index first among equals.
void best_of(const float* scores, int64_t n, int64_t count, int32_t* best) {
  int32_t order[kMaxExperts];
  std::iota(order, order + n, 0);
  std::partial_sort(order, order + count, order + n, [scores](int32_t a, int32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  std::copy_n(order, count, best);
}

float worth(GroupScore how, const float* scores, int64_t n) {
  float first = kLowest, second = kLowest;
  for (int64_t i = 0; i < n; ++i) {
    second = std::max(second, std::min(first, scores[i]));
    first = std::max(first, scores[i]);
  }
  return how == GroupScore::Top2 && n > 1 ? first + second : first;
}

// Experts outside the best groups drop out of the choice.
void keep_best_groups(const RouterFacts& facts, float* choice) {
  const int64_t size = facts.experts / facts.groups;
  float worths[kMaxExperts];
  int32_t best[kMaxExperts];
  for (int64_t g = 0; g < facts.groups; ++g) worths[g] = worth(facts.group_score, choice + g * size, size);
  best_of(worths, facts.groups, facts.groups_used, best);
  for (int64_t g = 0; g < facts.groups; ++g)
    if (std::find(best, best + facts.groups_used, g) == best + facts.groups_used)
      std::fill_n(choice + g * size, size, kLowest);
}

}  // namespace

void choose_experts(const RouterFacts& facts, float* logits, const float* bias, int32_t* ids,
                    float* weights) {
  float choice[kMaxExperts];
  to_scores(facts.gating, logits, facts.experts);
  for (int64_t i = 0; i < facts.experts; ++i) {
    const float biased = logits[i] + (bias ? bias[i] : 0.0f);
    choice[i] = std::isnan(biased) ? kLowest : biased;
  }
  if (facts.groups > 1) keep_best_groups(facts, choice);
  best_of(choice, facts.experts, facts.used, ids);

  float sum = 0;
  for (int64_t i = 0; i < facts.used; ++i) sum += weights[i] = logits[ids[i]];
  const float factor = facts.normalise ? facts.scale / std::max(sum, 1e-20f) : facts.scale;
  for (int64_t i = 0; i < facts.used; ++i) weights[i] *= factor;
}

}  // namespace ktd
