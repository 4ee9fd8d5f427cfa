// Chooses the next token of one request.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ktd {

struct Sampling {
  float temperature;  // 0: greedy
  int32_t top_k;      // 0: all
  float top_p;        // 1: all
  float min_p;        // 0: all
  float typical_p;    // 1: all
  float repeat_penalty;
  int32_t repeat_last_n;  // tokens that the penalties see; 0: none, -1: all
  float presence_penalty;
  float frequency_penalty;
  std::vector<std::pair<int32_t, float>> bias;  // token, what is added to its logit
  uint64_t seed;
};

// Order: mask, bias, penalties, top-k, typical-p, top-p, min-p, temperature, draw. The draws depend on the
// seed, the mask and the logits alone.
class Sampler {
 public:
  // Throws EngineError on a value outside its range.
  explicit Sampler(const Sampling& sampling);

  // Counts a token of prompt or answer for the penalties.
  void accept(int32_t token);

  // The next token; not yet accepted. Ties go to the lower id. A mask has one bit per token, lowest first:
  // only tokens whose bit is set may be chosen, and none beyond its end; an empty mask allows all. Throws
  // EngineError when no token that is allowed has a logit that is a number.
  int32_t sample(std::span<const float> logits, std::span<const uint8_t> mask = {});

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };
  static bool better(const Candidate& a, const Candidate& b);
  void penalise(std::span<float> logits) const;
  void gather(std::span<const float> logits, std::span<const uint8_t> mask);
  void keep_top_k();
  void keep_typical();
  void keep_best();
  int32_t draw();

  const Sampling sampling_;
  std::mt19937_64 random_;
  std::deque<int32_t> recent_;
  std::unordered_map<int32_t, int32_t> counts_;  // of the recent tokens
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
};

}  // namespace ktd
