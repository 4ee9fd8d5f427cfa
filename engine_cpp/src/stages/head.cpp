#include "stages/head.h"

#include <algorithm>
#include <cmath>

#include "stages/project.h"

namespace ktd {

struct Head::Buffers {
  Buffers(Carver carver, const Head& head, int64_t rows)
      : normed(carver, rows, head.output_.k, Formats().add(head.output_.traits)), bytes(carver.used()) {}
  Activations normed;
  size_t bytes;
};

size_t Head::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), *this, tokens).bytes;
}

void Head::run(Team& team, Step& step) const {
  const auto rows = static_cast<int64_t>(step.batch.rows.size());
  const Buffers buffers(Carver(step.scratch), *this, rows);
  team.each(rows, [&](int64_t i) {
    const float* hidden = step.hidden + step.batch.rows[i] * output_.k;
    step.kernels.rms_norm(hidden, norm_, eps_, buffers.normed.row(i), output_.k);
    buffers.normed.publish(step.kernels, i);
  });
  project(team, step.kernels, {{output_, buffers.normed, step.logits, output_.rows}}, rows);
  if (softcap_ > 0) cap(team, step.logits, rows * output_.rows);
}

void Head::cap(Team& team, float* logits, int64_t n) const {
  constexpr int64_t kPiece = 4096;
  team.each((n + kPiece - 1) / kPiece, [&](int64_t piece) {
    for (int64_t i = piece * kPiece; i < std::min(n, (piece + 1) * kPiece); ++i)
      logits[i] = softcap_ * std::tanh(logits[i] / softcap_);
  });
}

}  // namespace ktd
