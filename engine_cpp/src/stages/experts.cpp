#include "stages/experts.h"

#include <string>

#include "base/error.h"
#include "stages/router.h"
#include "weights/image.h"

namespace ktd {

struct Experts::Plan {
  int64_t shares;
  int64_t tiles;
};

Experts::Buffers::Buffers(Carver& carver, const Experts& e, int64_t n)
    : inner(carver, n * e.used_, e.experts_.width(), Formats().add(e.experts_.down.traits)),
      shared_inner(carver, e.shared_ ? n : 0, e.shared_ ? e.shared_->width() : 0,
                   e.shared_ ? Formats().add(e.shared_->down.traits) : Formats()),
      tokens(carver.take<int32_t>(n * e.used_)),
      factors(carver.take<float>(n * e.used_)),
      shares(carver.take<Share>(e.count() + 1)),
      plan(carver.take<Plan>(1)) {}

Experts::Experts(Gated experts, int64_t used, std::optional<Gated> shared, bool streamed)
    : experts_(experts), used_(used), shared_(shared), streamed_(streamed) {
  if (used < 1 || used > count() || count() > kMaxExperts)
    throw EngineError("cannot choose " + std::to_string(used) + " of " + std::to_string(count()) +
                      " experts");
}

Formats Experts::inputs() const {
  return shared_ ? shared_->inputs().add(experts_.inputs()) : experts_.inputs();
}

// Sorts the choices by expert: one share for each that has tokens.
void Experts::plan(const Buffers& b, const Choices& choices) const {
  const int64_t n = choices.tokens * used_;
  int64_t starts[kMaxExperts + 1] = {}, filled[kMaxExperts];
  for (int64_t i = 0; i < n; ++i) ++starts[choices.ids[i] + 1];
  for (int64_t e = 0; e < count(); ++e) starts[e + 1] += filled[e] = starts[e];
  for (int64_t i = 0; i < n; ++i) {
    const int64_t slot = filled[choices.ids[i]]++;
    b.tokens[slot] = static_cast<int32_t>(i / used_);
    b.factors[slot] = choices.weights[i];
  }
  Share* next = b.shares;
  if (shared_)
    *next++ = {&*shared_, 0, choices.tokens, nullptr, choices.shared_factors, &b.shared_inner, 0, 0};
  for (int64_t e = 0; e < count(); ++e)
    if (const int64_t first = starts[e], taken = starts[e + 1] - first; taken > 0)
      *next++ = {&experts_, e, taken, b.tokens + first, b.factors + first, &b.inner, first, 0};
  const int64_t shares = next - b.shares;
  *b.plan = {shares, count_tiles(b.shares, shares)};
  if (streamed_) read_ahead(*b.plan, b.shares);
}

void Experts::run(Team& team, const Kernels& kernels, const Buffers& b, const Activations& x,
                  float* hidden) const {
  run_gate_up(team, kernels, x, b.shares, b.plan->shares, b.plan->tiles);
  run_down(team, kernels, b.shares, b.plan->shares, hidden);
}

// Asks for all experts of the step at once, so that the disk has a queue to work on.
void Experts::read_ahead(const Plan& plan, const Share* shares) const {
  const auto ask = [](const Matrix& part, int64_t which) {
    ktd::read_ahead(part.row(0, which), part.row_bytes * static_cast<size_t>(part.rows));
  };
  for (const Share* share = shares; share < shares + plan.shares; ++share) {
    ask(share->stack->gate, share->which);
    if (share->stack->up) ask(*share->stack->up, share->which);
    ask(share->stack->down, share->which);
  }
}

}  // namespace ktd
