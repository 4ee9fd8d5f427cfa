#include "run/routed_experts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace ktd {

struct RoutedExperts::Buffers {
  Buffers(Carver carver, const Experts& layer, int64_t n)
      : x(carver, n, layer.dim(), layer.inputs()), experts(carver, layer, n), bytes(carver.used()) {}
  Activations x;  // [n, dim]
  Experts::Buffers experts;
  size_t bytes;

  static size_t most(const std::vector<Experts>& layers, int64_t n) {
    size_t most = 0;
    for (const Experts& layer : layers) most = std::max(most, Buffers(Carver(), layer, n).bytes);
    return most;
  }
};

RoutedExperts::RoutedExperts(Machine& machine, std::vector<Experts> layers, int64_t max_tokens)
    : machine_(machine),
      layers_(std::move(layers)),
      max_tokens_(max_tokens),
      scratch_(Buffers::most(layers_, max_tokens), "the scratch of routed experts") {}

const Experts& RoutedExperts::layer(size_t i) const {
  if (i >= layers_.size())
    throw EngineError("there are " + std::to_string(layers_.size()) + " layers of routed experts, no layer " +
                      std::to_string(i));
  return layers_[i];
}

void RoutedExperts::run(size_t which, const Choices& choices, const float* x, float* out) {
  const Experts& experts = layer(which);
  check(experts, choices);
  const Buffers b(Carver(scratch_.data()), experts, choices.tokens);
  const int64_t dim = experts.dim();
  machine_.pool.run([&](Team& team) {
    team.each(choices.tokens, [&](int64_t t) {
      std::copy_n(x + t * dim, dim, b.x.row(t));
      b.x.publish(machine_.kernels, t);
      std::fill_n(out + t * dim, dim, 0.0f);
    });
    team.once([&] { experts.plan(b.experts, choices); });
    experts.run(team, machine_.kernels, b.experts, b.x, out);
  });
}

void RoutedExperts::check(const Experts& experts, const Choices& choices) const {
  if (choices.tokens < 1 || choices.tokens > max_tokens_)
    throw EngineError("a step takes 1 to " + std::to_string(max_tokens_) + " tokens, not " +
                      std::to_string(choices.tokens));
  for (int64_t i = 0; i < choices.tokens * experts.used(); ++i)
    if (choices.ids[i] < 0 || choices.ids[i] >= experts.count())
      throw EngineError("there is no expert " + std::to_string(choices.ids[i]) + " among " +
                        std::to_string(experts.count()));
}

}  // namespace ktd
