#pragma once

#include "stages/stage.h"
#include "weights/tensor.h"

namespace ktd {

// hidden[t] = row tokens[t] of the table.
class Embed : public Stage {
 public:
  explicit Embed(const Tensor& table) : table_(matrix(table)) {}
  void run(Team& team, Step& step) const override;

 private:
  const Matrix table_;  // {dim, vocab}
};

}  // namespace ktd
