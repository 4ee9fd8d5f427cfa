#pragma once

#include "stages/gated.h"
#include "stages/norm.h"
#include "stages/outcome.h"
#include "stages/stage.h"

namespace ktd {

// hidden += block(norm(hidden)), normed again where there is a post_norm.
class DenseFfn : public Stage {
 public:
  DenseFfn(Norm norm, const Tensor* post_norm, Gated block)
      : norm_(norm), outcome_{nullptr, floats(post_norm), norm.eps}, block_(block) {}
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  struct Buffers;
  const Norm norm_;
  const Outcome outcome_;
  const Gated block_;
};

}  // namespace ktd
