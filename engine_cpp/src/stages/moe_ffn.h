#pragma once

#include <optional>

#include "stages/gated.h"
#include "stages/router.h"
#include "stages/stage.h"

namespace ktd {

// hidden += shared(norm(hidden)) + sum over the chosen experts of weight * expert(norm(hidden)).
class MoeFfn : public Stage {
 public:
  MoeFfn(float eps, const Tensor& norm, RouterFacts facts, const Tensor& router, const Tensor* bias,
         Gated experts, std::optional<Gated> shared);
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  struct Buffers;
  struct Plan;
  void plan(const Buffers& b, int64_t n) const;

  const float eps_;
  const float* norm_;  // [dim]
  const RouterFacts facts_;
  const Matrix router_;  // {dim, experts}
  const float* bias_;    // [experts] or null
  const Gated experts_;
  const std::optional<Gated> shared_;
};

}  // namespace ktd
