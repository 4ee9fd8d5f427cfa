#include "run/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"

namespace ktd {
namespace {

void require(bool sound, const char* what, double value) {
  if (!sound) throw EngineError(std::string(what) + " " + std::to_string(value) + " is out of range");
}

}  // namespace

Sampler::Sampler(const Sampling& sampling) : sampling_(sampling), random_(sampling.seed) {
  require(sampling.temperature >= 0 && std::isfinite(sampling.temperature), "temperature",
          sampling.temperature);
  require(sampling.top_k >= 0, "top_k", sampling.top_k);
  require(sampling.top_p >= 0 && sampling.top_p <= 1, "top_p", sampling.top_p);
  require(sampling.min_p >= 0 && sampling.min_p <= 1, "min_p", sampling.min_p);
  require(sampling.typical_p >= 0 && sampling.typical_p <= 1, "typical_p", sampling.typical_p);
  require(sampling.repeat_penalty > 0 && std::isfinite(sampling.repeat_penalty), "repeat_penalty",
          sampling.repeat_penalty);
  require(sampling.repeat_last_n >= -1, "repeat_last_n", sampling.repeat_last_n);
  require(std::isfinite(sampling.presence_penalty), "presence_penalty", sampling.presence_penalty);
  require(std::isfinite(sampling.frequency_penalty), "frequency_penalty", sampling.frequency_penalty);
  for (const auto& [token, bias] : sampling.bias) require(std::isfinite(bias), "bias", bias);
}

bool Sampler::better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void Sampler::accept(int32_t token) {
  if (sampling_.repeat_last_n == 0) return;
  recent_.push_back(token);
  ++counts_[token];
  if (sampling_.repeat_last_n < 0 || static_cast<int64_t>(recent_.size()) <= sampling_.repeat_last_n) return;
  if (--counts_[recent_.front()] == 0) counts_.erase(recent_.front());
  recent_.pop_front();
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const uint8_t> mask) {
  logits_.assign(logits.begin(), logits.end());
  penalise(logits_);
  gather(logits_, mask);
  keep_top_k();
  keep_typical();
  keep_best();
  return draw();
}

// OpenAI's bias; CTRL (arXiv 1909.05858) for repeats; OpenAI's presence and frequency penalties.
void Sampler::penalise(std::span<float> logits) const {
  for (const auto& [token, bias] : sampling_.bias)
    if (token >= 0 && token < static_cast<int64_t>(logits.size())) logits[token] += bias;
  for (const auto& [token, count] : counts_) {
    if (token < 0 || token >= static_cast<int64_t>(logits.size())) continue;
    float& logit = logits[token];
    logit = logit > 0 ? logit / sampling_.repeat_penalty : logit * sampling_.repeat_penalty;
    logit -= static_cast<float>(count) * sampling_.frequency_penalty + sampling_.presence_penalty;
  }
}

void Sampler::gather(std::span<const float> logits, std::span<const uint8_t> mask) {
  const size_t allowed = mask.empty() ? logits.size() : std::min(logits.size(), mask.size() * 8);
  candidates_.clear();
  for (size_t i = 0; i < allowed; ++i)
    if (mask.empty() || (mask[i / 8] >> (i % 8) & 1))
      if (logits[i] > -std::numeric_limits<float>::infinity())  // false for NaN too
        candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  if (candidates_.empty()) throw EngineError("the model computed no logit that is a number");
}

void Sampler::keep_top_k() {
  size_t most = candidates_.size();
  if (sampling_.temperature == 0) most = 1;
  if (sampling_.top_k > 0) most = std::min<size_t>(most, sampling_.top_k);
  if (most == 1) {
    candidates_.front() = *std::min_element(candidates_.begin(), candidates_.end(), better);
    candidates_.resize(1);
  } else if (most < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + most, candidates_.end(), better);
    candidates_.resize(most);
  }
}

// Locally typical sampling (arXiv 2202.00666): the candidates whose surprise is nearest to the entropy.
void Sampler::keep_typical() {
  if (sampling_.typical_p >= 1 || candidates_.size() == 1) return;
  const double peak = std::min_element(candidates_.begin(), candidates_.end(), better)->logit;
  double total = 0, moment = 0;
  for (const auto& candidate : candidates_) {
    const double share = std::exp(candidate.logit - peak);
    total += share;
    moment += share * (candidate.logit - peak);
  }
  // The entropy is log(total) - mean and the surprise log(total) - (logit - peak): they differ by the mean.
  const double mean = moment / total;
  if (!std::isfinite(mean)) return;
  const auto oddness = [&](const Candidate& one) { return std::abs(one.logit - peak - mean); };
  std::sort(candidates_.begin(), candidates_.end(), [&](const Candidate& a, const Candidate& b) {
    return oddness(a) != oddness(b) ? oddness(a) < oddness(b) : better(a, b);
  });
  size_t kept = 0;
  for (double mass = 0; kept < candidates_.size() && (kept == 0 || mass < sampling_.typical_p * total);
       ++kept)
    mass += std::exp(candidates_[kept].logit - peak);
  candidates_.resize(kept);
}

// Leaves the candidates that may be drawn, best first.
void Sampler::keep_best() {
  if (candidates_.size() == 1) return;
  const auto worse = [](const Candidate& a, const Candidate& b) { return better(b, a); };
  const float peak = std::min_element(candidates_.begin(), candidates_.end(), better)->logit;
  double total = 0;
  for (const auto& candidate : candidates_) total += std::exp(static_cast<double>(candidate.logit) - peak);

  // A heap gives them best first without sorting those that are cut off.
  std::make_heap(candidates_.begin(), candidates_.end(), worse);
  auto end = candidates_.end();
  double mass = 0;
  while (end != candidates_.begin()) {
    const double share = std::exp(static_cast<double>(candidates_.front().logit) - peak);
    const bool first = end == candidates_.end();
    if (!first && (mass >= sampling_.top_p * total || share < sampling_.min_p)) break;
    mass += share;
    std::pop_heap(candidates_.begin(), end--, worse);
  }
  candidates_.erase(candidates_.begin(), end);
  std::reverse(candidates_.begin(), candidates_.end());
}

int32_t Sampler::draw() {
  if (candidates_.size() == 1) return candidates_.front().token;
  const double peak = candidates_.front().logit;
  double total = 0;
  for (const auto& candidate : candidates_)
    total += std::exp((candidate.logit - peak) / sampling_.temperature);
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  for (const auto& candidate : candidates_) {
    left -= std::exp((candidate.logit - peak) / sampling_.temperature);
    if (left < 0) return candidate.token;
  }
  return candidates_.back().token;
}

}  // namespace ktd
