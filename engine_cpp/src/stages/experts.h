// The experts of a mixture: the choices of a step's tokens, sorted by expert, through the two phases of a
// block.
#pragma once

#include <cstdint>
#include <optional>

#include "stages/activations.h"
#include "stages/gated.h"

namespace ktd {

// Which experts the tokens chose; the arrays belong to the caller.
struct Choices {
  int64_t tokens;
  const int32_t* ids;           // [tokens, used] experts
  const float* weights;         // [tokens, used] factors of their outputs
  const float* shared_factors;  // [tokens] of the shared block's output; null: one
};

// hidden += shared(x) + sum over the chosen experts of weight * expert(x).
class Experts {
 public:
  // shared: a block that every token takes. streamed: experts are on disk unless memory happens to hold them.
  // Throws EngineError when `used` of the experts cannot be chosen.
  Experts(Gated experts, int64_t used, std::optional<Gated> shared, bool streamed);

  struct Plan;
  struct Buffers {
    Buffers(Carver& carver, const Experts& experts, int64_t n);
    Activations inner;         // [n * used, width], by expert
    Activations shared_inner;  // [n, shared width]
    int32_t* tokens;           // [n * used], by expert
    float* factors;            // [n * used], by expert
    Share* shares;             // the shared block, then every expert that has tokens
    Plan* plan;
  };

  int64_t count() const { return experts_.gate.count; }
  int64_t used() const { return used_; }
  int64_t dim() const { return experts_.gate.k; }
  Formats inputs() const;

  // What each member of the team needs to know of the choices; called by one of them.
  void plan(const Buffers& b, const Choices& choices) const;
  // Both phases; x [tokens, dim] in the formats of `inputs`.
  void run(Team& team, const Kernels& kernels, const Buffers& b, const Activations& x, float* hidden) const;

 private:
  void read_ahead(const Plan& plan, const Share* shares) const;

  const Gated experts_;
  const int64_t used_;
  const std::optional<Gated> shared_;
  const bool streamed_;
};

}  // namespace ktd
