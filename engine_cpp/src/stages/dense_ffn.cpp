#include "stages/dense_ffn.h"

#include <algorithm>

namespace ktd {

struct DenseFfn::Buffers {
  Buffers(Carver carver, const Gated& block, bool plain, int64_t n)
      : normed(carver, n, block.gate.k, block.inputs()),
        inner(carver, n, block.width(), Formats().add(block.down.traits)),
        out(carver.take<float>(plain ? 0 : n * block.down.rows)),
        bytes(carver.used()) {}
  Activations normed;  // [n, dim]
  Activations inner;   // [n, width]
  float* out;          // [n, dim] unless it goes to the hidden state at once
  size_t bytes;
};

size_t DenseFfn::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), block_, outcome_.plain(), tokens).bytes;
}

void DenseFfn::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size(), dim = block_.gate.k;
  const Buffers b(Carver(step.scratch), block_, outcome_.plain(), n);
  Share all{&block_, 0, n, nullptr, nullptr, &b.inner, 0, 0};
  const int64_t tiles = count_tiles(&all, 1);

  team.each(n, [&](int64_t t) {
    norm_.apply(step.kernels, step.hidden + t * dim, b.normed.row(t), dim);
    b.normed.publish(step.kernels, t);
    if (!outcome_.plain()) std::fill_n(b.out + t * dim, dim, 0.0f);
  });
  run_gate_up(team, step.kernels, b.normed, &all, 1, tiles);
  run_down(team, step.kernels, &all, 1, outcome_.plain() ? step.hidden : b.out);
  if (!outcome_.plain())
    team.each(n, [&](int64_t t) { outcome_.add(step.kernels, b.out + t * dim, step.hidden + t * dim, dim); });
}

}  // namespace ktd
