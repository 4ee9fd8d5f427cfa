#include "stages/dense_ffn.h"

namespace ktd {

struct DenseFfn::Buffers {
  Buffers(Carver carver, const Gated& block, int64_t n)
      : normed(carver, n, block.gate.k, Formats().add(block.gate.traits).add(block.up.traits)),
        inner(carver, n, block.width(), Formats().add(block.down.traits)),
        bytes(carver.used()) {}
  Activations normed;  // [n, dim]
  Activations inner;   // [n, width]
  size_t bytes;
};

size_t DenseFfn::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), block_, tokens).bytes;
}

void DenseFfn::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size(), dim = block_.gate.k;
  const Buffers b(Carver(step.scratch), block_, n);
  Share all{&block_, 0, n, nullptr, nullptr, &b.inner, 0, 0};
  const int64_t tiles = count_tiles(&all, 1);

  team.each(n, [&](int64_t t) {
    step.kernels.rms_norm(step.hidden + t * dim, norm_, eps_, b.normed.row(t), dim);
    b.normed.publish(step.kernels, t);
  });
  run_gate_up(team, step.kernels, b.normed, &all, 1, tiles);
  run_down(team, step.kernels, &all, 1, step.hidden);
}

}  // namespace ktd
