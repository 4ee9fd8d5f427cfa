#pragma once

#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

// hidden[t] = scale * row tokens[t] of the table.
class Embed : public Stage {
 public:
  Embed(const Tensor& table, float scale) : table_(matrix(table)), scale_(scale) {}
  void run(Team& team, Step& step) const override;

 private:
  const Matrix table_;  // {dim, vocab}
  const float scale_;
};

}  // namespace ktd
