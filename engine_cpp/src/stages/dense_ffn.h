#pragma once

#include "stages/gated.h"
#include "stages/outcome.h"
#include "stages/stage.h"

namespace ktd {

// hidden += down(activation(gate(x)) * up(x)) with x = norm(hidden), normed again where there is a post_norm.
class DenseFfn : public Stage {
 public:
  DenseFfn(float eps, const Tensor& norm, const Tensor* post_norm, Gated block)
      : eps_(eps),
        norm_(floats(&norm)),
        outcome_{nullptr, post_norm ? reinterpret_cast<const float*>(post_norm->data) : nullptr, eps},
        block_(block) {
    check_gated(block_, norm.name.c_str());
  }
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  struct Buffers;
  const float eps_;
  const float* norm_;  // [dim]
  const Outcome outcome_;
  const Gated block_;
};

}  // namespace ktd
