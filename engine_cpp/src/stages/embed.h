#pragma once

#include <optional>
#include <vector>

#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

// hidden[t] = scale * row tokens[t] of the table, plus in encoders the row of its position, and of type 0.
class Embed : public Stage {
 public:
  Embed(const Tensor& table, float scale, const Tensor* positions, const Tensor* types);
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  const Matrix table_;  // {dim, vocab}
  const float scale_;
  const std::optional<Matrix> positions_;  // {dim, context}
  std::vector<float> type_;                // [dim] or empty
};

}  // namespace ktd
