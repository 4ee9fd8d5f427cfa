#pragma once

#include "stages/norm.h"
#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

// hidden[t] = project . [norm(row tokens[t] of the table), state_norm(given[t])]: how a block that predicts
// further tokens begins.
class Combine : public Stage {
 public:
  // Throws EngineError when the tensors do not fit together.
  Combine(const Tensor& table, Norm norm, Norm state_norm, const Tensor& project);
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  struct Buffers;
  const Matrix table_;  // {dim, vocab}
  const Norm norm_;
  const Norm state_norm_;
  const Matrix project_;  // {2 dim, dim}
};

}  // namespace ktd
