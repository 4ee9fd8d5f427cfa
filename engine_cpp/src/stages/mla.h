// Multi-head latent attention. A cache row is a latent that all heads share. A few tokens look at it
// absorbed: their queries are taken to the latent space, and what they find there back to values. For many
// tokens it pays to expand the latents to the keys and values of every head first.
#pragma once

#include <vector>

#include "base/memory.h"
#include "stages/activations.h"
#include "stages/attend.h"
#include "stages/rotary.h"
#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

struct MlaFacts {
  int64_t heads;
  int64_t kv_lora;  // latent values of a cache row; the rotated key follows them
  int64_t nope;     // per head: values of q and k without position
  int64_t value;    // per head: values of v
  float scale;      // of the scores
  float eps;
  size_t layer;  // of the cache
  Rotary rotary;
};

// Null where the model has none: q alone, or q_a, q_a_norm and q_b; kv_b alone, or k_b and v_b.
struct MlaTensors {
  const Tensor *norm, *q, *q_a, *q_a_norm, *q_b, *kv_a, *kv_a_norm, *k_b, *v_b, *kv_b, *output;
};

class MlaAttention : public Stage {
 public:
  // Turns the keys' weights to the form that the file lacks, with the pool. Throws EngineError when facts and
  // tensors do not fit together.
  MlaAttention(MlaFacts facts, const MlaTensors& tensors, Pool& pool);
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

  int64_t cache_width() const { return facts_.kv_lora + facts_.rotary.dims(); }
  size_t derived_bytes() const { return derived_.bytes(); }

 private:
  static constexpr int64_t kHeadBlock = 64;      // most heads that share what a thread has read of the cache
  static constexpr int64_t kExpandTokens = 256;  // of the cache, expanded at once
  struct Buffers;
  struct Absorbed;
  struct Expanded;
  // Heads [first, first + count) of a token of a round.
  struct Heads {
    int64_t slot, first, count;
  };
  int64_t head_width() const { return facts_.nope + facts_.rotary.dims(); }
  int64_t q_width() const { return facts_.heads * head_width(); }
  bool expands(const Run& run) const;
  void take_in(const Buffers& b, const Step& step, int64_t t) const;
  void latents(const Buffers& b, const Step& step, int64_t t) const;

  void look_back_expanded(const Buffers& b, Team& team, const Step& step) const;
  void look_expanded(const Buffers& b, const Step& step, int rank, const Run& run, int64_t head) const;
  void take_queries(const Buffers& b, const Step& step, const Findings& found, const Run& run,
                    int64_t head) const;
  void expand(const Expanded& e, const Step& step, const Run& run, const Range& range, int64_t head) const;

  void look_back_absorbed(const Buffers& b, Team& team, const Step& step, const Round& round) const;
  void absorb(const Buffers& b, const Step& step, int rank, const Round& round, int64_t head) const;
  void look_absorbed(const Buffers& b, const Step& step, int rank, const Round& round, const Heads& heads,
                     int64_t piece) const;
  void settle(const Buffers& b, const Step& step, int rank, const Round& round, int64_t head) const;
  CacheView view() const { return {facts_.layer, 0, cache_width(), 0, facts_.kv_lora}; }

  const MlaFacts facts_;
  Memory derived_;
  const float *norm_, *q_a_norm_, *kv_a_norm_;
  const bool low_rank_q_;
  const Matrix q_in_;    // {dim, q_lora} or {dim, heads * (nope + rope)}
  const Matrix q_b_;     // {q_lora, heads * (nope + rope)}; unused without q_lora
  const Matrix kv_a_;    // {dim, kv_lora + rope}
  const Matrix k_b_;     // {nope, kv_lora} per head: absorbed queries
  const Matrix keys_;    // {kv_lora, nope} per head: expanded keys
  const Matrix v_b_;     // {kv_lora, value} per head
  const Matrix output_;  // {heads * value, dim}
};

}  // namespace ktd
