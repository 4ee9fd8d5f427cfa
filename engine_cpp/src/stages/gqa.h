// Grouped-query attention: several query heads share a key and value head; rows of the cache hold all of
// both.
#pragma once

#include <optional>

#include "stages/activations.h"
#include "stages/attend.h"
#include "stages/norm.h"
#include "stages/outcome.h"
#include "stages/rotary.h"
#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

struct GqaFacts {
  int64_t heads;
  int64_t kv_heads;
  int64_t head;  // values of one head
  float scale;   // of the scores
  float eps;
  size_t layer;  // of the cache
  Rotary rotary;
  int64_t window;  // tokens seen; 0: all
  float softcap;   // of the scores; 0: none
  bool causal;     // a token sees no later ones; else all of its sequence is in the same step
};

// Null where the model has none. Matrices may be parts of one tensor.
struct GqaTensors {
  Matrix q, k, v, output;
  const Tensor *norm, *norm_bias, *q_bias, *k_bias, *v_bias, *output_bias, *q_norm, *k_norm, *post_norm,
      *sinks;
};

class GqaAttention : public Stage {
 public:
  GqaAttention(GqaFacts facts, const GqaTensors& tensors);
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

  int64_t cache_width() const { return 2 * facts_.kv_heads * facts_.head; }

 private:
  struct Buffers;
  // What is done to the heads of q or k between projection and use.
  struct Finish {
    const float* bias;  // [heads * head] or null
    const float* norm;  // [head] or null
    int64_t heads;
  };
  void take_in(const Buffers& b, const Step& step, int64_t t) const;
  void finish(const Buffers& b, const Step& step, int64_t t) const;
  void finish_heads(const Finish& finish, const Kernels& kernels, const float* turn, float* x) const;
  void look_back(const Buffers& b, const Step& step, int rank, int64_t item) const;
  CacheView view(int64_t kv_head) const;
  int64_t group() const { return facts_.heads / facts_.kv_heads; }  // heads that share a key head
  int64_t blocks() const { return (group() + kHeadBlock - 1) / kHeadBlock; }

  const GqaFacts facts_;
  const Norm norm_;
  const float *v_bias_, *sinks_;
  const Outcome outcome_;
  const Finish q_finish_, k_finish_;
  const Matrix q_, k_, v_, output_;
};

}  // namespace ktd
