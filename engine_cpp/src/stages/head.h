#pragma once

#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

// logits[i] = output . norm(hidden[rows[i]]): only for the rows that are wanted. With a softcap they become
// softcap * tanh(logit / softcap).
class Head : public Stage {
 public:
  Head(float eps, const Tensor& norm, const Tensor& output, float softcap)
      : eps_(eps), softcap_(softcap), norm_(floats(&norm)), output_(matrix(output)) {}
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

  int64_t vocab() const { return output_.rows; }

 private:
  struct Buffers;
  void cap(Team& team, float* logits, int64_t n) const;
  const float eps_, softcap_;
  const float* norm_;    // [dim]
  const Matrix output_;  // {dim, vocab}
};

}  // namespace ktd
