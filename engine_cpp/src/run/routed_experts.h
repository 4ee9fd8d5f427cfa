// The routed experts of a model whose other stages run elsewhere: one call computes those of a layer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "machine/machine.h"
#include "stages/experts.h"

namespace ktd {

class RoutedExperts {
 public:
  // layers: what each call may name, none with a shared block.
  RoutedExperts(Machine& machine, std::vector<Experts> layers, int64_t max_tokens);
  RoutedExperts(const RoutedExperts&) = delete;

  // out [tokens, dim] = sum over the chosen experts of weight * expert(x), for x [tokens, dim]. Throws
  // EngineError for choices that the layer does not have.
  void run(size_t layer, const Choices& choices, const float* x, float* out);

  const Experts& layer(size_t i) const;
  size_t scratch_bytes() const { return scratch_.bytes(); }

 private:
  struct Buffers;
  void check(const Experts& experts, const Choices& choices) const;

  Machine& machine_;
  const std::vector<Experts> layers_;
  const int64_t max_tokens_;
  Memory scratch_;  // the layers share it in turn
};

}  // namespace ktd
