#pragma once

#include <optional>

#include "stages/experts.h"
#include "stages/gated.h"
#include "stages/router.h"
#include "stages/stage.h"

namespace ktd {

// Null where the model has none.
struct MoeTensors {
  const Tensor *norm, *router;
  const Tensor* logits_bias;  // of the router's logits
  const Tensor* choice_bias;  // counts for the choice only
  const Tensor* shared_gate;  // the shared block's output is multiplied by sigmoid(shared_gate . x)
};

struct MoeBlocks {
  Gated experts;
  std::optional<Gated> shared;
  bool streamed;  // experts are on disk unless memory happens to hold them
};

// hidden += shared(x) + sum over the chosen experts of weight * expert(x), with x = norm(hidden).
class MoeFfn : public Stage {
 public:
  MoeFfn(float eps, RouterFacts facts, const MoeTensors& tensors, MoeBlocks blocks);
  size_t scratch_bytes(int64_t tokens, int threads) const override;
  void run(Team& team, Step& step) const override;

 private:
  struct Buffers;
  void take_in(const Buffers& b, const Step& step, int64_t t) const;
  void route(const Buffers& b, const Step& step, int64_t t) const;

  const float eps_;
  const RouterFacts facts_;
  const float* norm_;                        // [dim]
  const Matrix router_;                      // {dim, experts}
  const float *logits_bias_, *choice_bias_;  // [experts] or null
  const float* shared_gate_;                 // [dim] or null
  const Experts experts_;
};

}  // namespace ktd
