// Grouped-query attention: several query heads share a key and value head; rows of the cache hold all of
// both.
#pragma once

#include <algorithm>

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

// A prompt is read in blocks of tokens: their rows share what is read of the cache. A single token's long
// look is cut into pieces instead.
class GqaAttention : public Stage {
 public:
  GqaAttention(GqaFacts facts, const GqaTensors& tensors);
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

  int64_t cache_width() const { return 2 * facts_.kv_heads * facts_.head; }

 private:
  static constexpr int64_t kBlockRows = 256;  // of a block: its tokens times the heads that share a key head
  struct Buffers;
  struct Block;
  // What is done to the heads of q or k between projection and use.
  struct Finish {
    const float* bias;  // [heads * head] or null
    const float* norm;  // [head] or null
    int64_t heads;
  };
  void take_in(const Buffers& b, const Step& step, int64_t t) const;
  void finish(const Buffers& b, const Step& step, int64_t t) const;
  void finish_heads(const Finish& finish, const Kernels& kernels, const float* turn, float* x) const;
  Range sees(const Step& step, int64_t token) const;
  void look_back_together(const Buffers& b, Team& team, const Step& step) const;
  void look_back_alone(const Buffers& b, Team& team, const Step& step, const Round& round) const;
  void look_in_block(const Buffers& b, const Step& step, int rank, const Run& block, int64_t kv_head) const;
  void look_in_piece(const Buffers& b, const Step& step, int rank, const Round& round, int64_t slot,
                     int64_t kv_head, int64_t piece) const;
  void settle(const Buffers& b, const Step& step, const Round& round, int64_t slot, int64_t kv_head) const;
  CacheView view(int64_t kv_head) const;
  int64_t group() const { return facts_.heads / facts_.kv_heads; }  // heads that share a key head
  int64_t block_tokens() const { return std::max(int64_t{1}, kBlockRows / group()); }
  const float* sink(int64_t head) const { return sinks_ ? sinks_ + head : nullptr; }

  const GqaFacts facts_;
  const Norm norm_;
  const float *v_bias_, *sinks_;
  const Outcome outcome_;
  const Finish q_finish_, k_finish_;
  const Matrix q_, k_, v_, output_;
};

}  // namespace ktd
