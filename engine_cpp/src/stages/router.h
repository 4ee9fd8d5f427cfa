// Which experts a token takes, and with what weights.
#pragma once

#include <cstdint>

namespace ktd {

enum class Gating { Softmax, Sigmoid };
enum class GroupScore { Max, Top2 };  // what a group is worth: its best score, or the sum of its two best

struct RouterFacts {
  Gating gating;
  int64_t experts;
  int64_t used;
  int64_t groups;       // 1: all experts compete
  int64_t groups_used;  // groups whose experts compete
  GroupScore group_score;
  bool normalise;  // weights sum to one before `scale`
  float scale;
};

// Experts a router may have, so that a choice needs no allocation.
inline constexpr int64_t kMaxExperts = 1024;

// logits: [experts], overwritten. bias: [experts] or null, counts for the choice only. NaN scores lose.
// ids: [used] in falling score; weights: [used].
void choose_experts(const RouterFacts& facts, float* logits, const float* bias, int32_t* ids, float* weights);

}  // namespace ktd
