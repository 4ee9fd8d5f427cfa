#pragma once

#include <optional>

#include "stages/norm.h"
#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

// logits[i] = output . norm(hidden[rows[i]]): only for the rows that are wanted. With a softcap they become
// softcap * tanh(logit / softcap). states[i] = norm(hidden[kept[i]]). An encoder has no output, only states.
class Head : public Stage {
 public:
  Head(Norm norm, int64_t dim, std::optional<Matrix> output, float softcap)
      : norm_(norm), dim_(dim), softcap_(softcap), output_(output) {}
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  struct Buffers;
  void give_logits(Team& team, Step& step) const;
  void cap(Team& team, float* logits, int64_t n) const;
  const Norm norm_;
  const int64_t dim_;
  const float softcap_;
  const std::optional<Matrix> output_;  // {dim, vocab}
};

}  // namespace ktd
