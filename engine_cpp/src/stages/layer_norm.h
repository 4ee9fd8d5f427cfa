#pragma once

#include "stages/norm.h"
#include "stages/stage.h"

namespace ktd {

// hidden = norm(hidden): of models that norm what a block made instead of what it reads.
class LayerNorm : public Stage {
 public:
  LayerNorm(Norm norm, int64_t dim) : norm_(norm), dim_(dim) {}
  void run(Team& team, Step& step) const override {
    team.each(step.batch.size(), [&](int64_t t) {
      float* hidden = step.hidden + t * dim_;
      norm_.apply(step.kernels, hidden, hidden, dim_);
    });
  }

 private:
  const Norm norm_;
  const int64_t dim_;
};

}  // namespace ktd
