#include "run/logprobs.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace ktd {

std::vector<Logprob> logprobs(std::span<const float> logits, int32_t token, int32_t top) {
  const auto size = static_cast<int32_t>(logits.size());
  if (token < 0 || token >= size || !std::isfinite(logits[token]))
    throw EngineError("token " + std::to_string(token) + " has no logit");

  // Those with a number, the best first up to `top`.
  std::vector<Logprob> found;
  found.reserve(logits.size());
  for (int32_t i = 0; i < size; ++i)
    if (std::isfinite(logits[i])) found.push_back({i, logits[i]});
  const auto better = [](const Logprob& a, const Logprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  const auto best = static_cast<int64_t>(std::clamp<int64_t>(top, 1, found.size()));
  std::partial_sort(found.begin(), found.begin() + best, found.end(), better);

  const double peak = found.front().logprob;
  double total = 0;
  for (const auto& one : found) total += std::exp(one.logprob - peak);
  const double norm = peak + std::log(total);
  const auto share = [&](float logit) { return static_cast<float>(logit - norm); };

  std::vector<Logprob> out{{token, share(logits[token])}};
  for (int64_t i = 0; i < best && i < top; ++i) out.push_back({found[i].token, share(found[i].logprob)});
  return out;
}

}  // namespace ktd
