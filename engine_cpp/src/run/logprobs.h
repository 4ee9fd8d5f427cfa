// Log-probabilities of tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ktd {

struct Logprob {
  int32_t token;
  float logprob;
};

// The log-softmax of the raw logits, before any penalty, temperature or cut: of `token`, then of the `top`
// best tokens, best first, ties by the lower id. Logits that are no number count as -infinity and are never
// among the best. Throws EngineError for a token outside the vocabulary or one without a finite logit.
std::vector<Logprob> logprobs(std::span<const float> logits, int32_t token, int32_t top);

}  // namespace ktd
