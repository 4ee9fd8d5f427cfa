#include "stages/moe_ffn.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/error.h"
#include "stages/project.h"

namespace ktd {

struct MoeFfn::Buffers {
  Buffers(Carver carver, const MoeFfn& m, int64_t n)
      : normed(carver, n, m.router_.k, formats(m)),
        logits(carver.take<float>(n * m.facts_.experts)),
        ids(carver.take<int32_t>(n * m.facts_.used)),
        weights(carver.take<float>(n * m.facts_.used)),
        shared_factors(carver.take<float>(m.shared_gate_ ? n : 0)),
        experts(carver, m.experts_, n),
        bytes(carver.used()) {}

  static Formats formats(const MoeFfn& m) { return m.experts_.inputs().add(m.router_.traits); }

  Activations normed;     // [n, dim]
  float* logits;          // [n, experts]
  int32_t* ids;           // [n, used]
  float* weights;         // [n, used]
  float* shared_factors;  // [n], of a shared block with a gate
  Experts::Buffers experts;
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
      experts_(blocks.experts, facts.used, blocks.shared, blocks.streamed) {
  const bool sound = facts.experts == experts_.count() && facts.groups >= 1 &&
                     facts.experts % facts.groups == 0 && facts.groups_used >= 1 &&
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
  team.once(
      [&] { experts_.plan(b.experts, {n, b.ids, b.weights, shared_gate_ ? b.shared_factors : nullptr}); });
  experts_.run(team, step.kernels, b.experts, b.normed, step.hidden);
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

}  // namespace ktd
