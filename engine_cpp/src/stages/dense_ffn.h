#pragma once

#include "stages/gated.h"
#include "stages/stage.h"

namespace ktd {

// hidden += down(silu(gate(norm(hidden))) * up(norm(hidden))).
class DenseFfn : public Stage {
 public:
  DenseFfn(float eps, const Tensor& norm, Gated block)
      : eps_(eps), norm_(reinterpret_cast<const float*>(norm.data)), block_(block) {
    check_gated(block_, norm.name.c_str());
  }
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  struct Buffers;
  const float eps_;
  const float* norm_;  // [dim]
  const Gated block_;
};

}  // namespace ktd
