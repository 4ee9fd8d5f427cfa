#include "stages/moe_ffn.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/error.h"
#include "stages/project.h"
#include "weights/image.h"

namespace ktd {
// What each member of the team needs to know of the routing; made by one of them.
struct MoeFfn::Plan {
  int64_t shares;
  int64_t tiles;
};

struct MoeFfn::Buffers {
  Buffers(Carver carver, const MoeFfn& m, int64_t n)
      : normed(carver, n, m.router_.k, formats(m)),
        inner(carver, n * m.facts_.used, m.experts_.width(), Formats().add(m.experts_.down.traits)),
        shared_inner(carver, m.shared_ ? n : 0, m.shared_ ? m.shared_->width() : 0,
                     m.shared_ ? Formats().add(m.shared_->down.traits) : Formats()),
        logits(carver.take<float>(n * m.facts_.experts)),
        ids(carver.take<int32_t>(n * m.facts_.used)),
        weights(carver.take<float>(n * m.facts_.used)),
        tokens(carver.take<int32_t>(n * m.facts_.used)),
        factors(carver.take<float>(n * m.facts_.used)),
        shared_factors(carver.take<float>(m.shared_gate_ ? n : 0)),
        shares(carver.take<Share>(m.facts_.experts + 1)),
        plan(carver.take<Plan>(1)),
        bytes(carver.used()) {}

  static Formats formats(const MoeFfn& m) {
    const Formats wanted = m.experts_.inputs().add(m.router_.traits);
    return m.shared_ ? m.shared_->inputs().add(wanted) : wanted;
  }

  Activations normed;        // [n, dim]
  Activations inner;         // [n * used, width], by expert
  Activations shared_inner;  // [n, shared width]
  float* logits;             // [n, experts]
  int32_t* ids;              // [n, used]
  float* weights;            // [n, used]
  int32_t* tokens;           // [n * used], by expert
  float* factors;            // [n * used], by expert
  float* shared_factors;     // [n], of a shared block with a gate
  Share* shares;             // the shared block, then every expert that has tokens
  Plan* plan;
  size_t bytes;
};

MoeFfn::MoeFfn(float eps, RouterFacts facts, const MoeTensors& tensors, MoeBlocks blocks)
    : eps_(eps),
      facts_(facts),
      norm_(floats(tensors.norm)),
      router_(matrix(*tensors.router)),
      logits_bias_(floats(tensors.logits_bias)),
      choice_bias_(floats(tensors.choice_bias)),
      shared_gate_(floats(tensors.shared_gate)),
      experts_(blocks.experts),
      shared_(blocks.shared),
      streamed_(blocks.streamed) {
  const bool sound = facts.experts <= kMaxExperts && facts.used >= 1 && facts.used <= facts.experts &&
                     facts.groups >= 1 && facts.experts % facts.groups == 0 && facts.groups_used >= 1 &&
                     facts.groups_used <= facts.groups &&
                     facts.used <= facts.experts / facts.groups * facts.groups_used;
  if (!sound)
    throw EngineError("tensor " + tensors.router->name + ": cannot choose " + std::to_string(facts.used) +
                      " of " + std::to_string(facts.experts) + " experts from " +
                      std::to_string(facts.groups_used) + " of " + std::to_string(facts.groups) + " groups");
}

size_t MoeFfn::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), *this, tokens).bytes;
}

void MoeFfn::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size();
  const Buffers b(Carver(step.scratch), *this, n);

  team.each(n, [&](int64_t t) { take_in(b, step, t); });
  project(team, step.kernels, {{router_, b.normed, b.logits, facts_.experts}}, n);
  team.each(n, [&](int64_t t) { route(b, step, t); });
  team.once([&] { plan(b, n); });
  run_gate_up(team, step.kernels, b.normed, b.shares, b.plan->shares, b.plan->tiles);
  run_down(team, step.kernels, b.shares, b.plan->shares, step.hidden);
}

void MoeFfn::take_in(const Buffers& b, const Step& step, int64_t t) const {
  const int64_t dim = router_.k;
  step.kernels.rms_norm(step.hidden + t * dim, norm_, eps_, b.normed.row(t), dim);
  b.normed.publish(step.kernels, t);
  if (!shared_gate_) return;
  const float sum = std::inner_product(shared_gate_, shared_gate_ + dim, b.normed.row(t), 0.0f);
  b.shared_factors[t] = 1.0f / (1.0f + std::exp(-sum));
}

void MoeFfn::route(const Buffers& b, const Step& step, int64_t t) const {
  float* logits = b.logits + t * facts_.experts;
  if (logits_bias_) step.kernels.axpy(1.0f, logits_bias_, logits, facts_.experts);
  choose_experts(facts_, logits, choice_bias_, b.ids + t * facts_.used, b.weights + t * facts_.used);
}

// Sorts the choices by expert: one share for each that has tokens.
void MoeFfn::plan(const Buffers& b, int64_t n) const {
  int64_t starts[kMaxExperts + 1] = {}, filled[kMaxExperts];
  for (int64_t i = 0; i < n * facts_.used; ++i) ++starts[b.ids[i] + 1];
  for (int64_t e = 0; e < facts_.experts; ++e) starts[e + 1] += filled[e] = starts[e];
  for (int64_t i = 0; i < n * facts_.used; ++i) {
    const int64_t slot = filled[b.ids[i]]++;
    b.tokens[slot] = static_cast<int32_t>(i / facts_.used);
    b.factors[slot] = b.weights[i];
  }
  Share* next = b.shares;
  if (shared_)
    *next++ = {&*shared_, 0, n, nullptr, shared_gate_ ? b.shared_factors : nullptr, &b.shared_inner, 0, 0};
  for (int64_t e = 0; e < facts_.experts; ++e)
    if (const int64_t first = starts[e], count = starts[e + 1] - first; count > 0)
      *next++ = {&experts_, e, count, b.tokens + first, b.factors + first, &b.inner, first, 0};
  const int64_t shares = next - b.shares;
  *b.plan = {shares, count_tiles(b.shares, shares)};
  if (streamed_) read_ahead(*b.plan, b.shares);
}

// Asks for all experts of the step at once, so that the disk has a queue to work on.
void MoeFfn::read_ahead(const Plan& plan, const Share* shares) const {
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
