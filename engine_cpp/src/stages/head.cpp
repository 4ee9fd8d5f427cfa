#include "stages/head.h"

#include <algorithm>
#include <cmath>

#include "stages/project.h"

namespace ktd {

struct Head::Buffers {
  Buffers(Carver carver, const Head& head, int64_t rows)
      : normed(carver, rows, head.dim_, Formats().add(head.output_->traits)), bytes(carver.used()) {}
  Activations normed;
  size_t bytes;
};

size_t Head::scratch_bytes(int64_t tokens, int threads) const {
  return output_ ? Buffers(Carver(), *this, tokens).bytes : 0;
}

void Head::run(Team& team, Step& step) const {
  team.each(static_cast<int64_t>(step.batch.kept.size()), [&](int64_t i) {
    norm_.apply(step.kernels, step.hidden + step.batch.kept[i] * dim_, step.states + i * dim_, dim_);
  });
  if (output_) give_logits(team, step);
}

void Head::give_logits(Team& team, Step& step) const {
  const auto rows = static_cast<int64_t>(step.batch.rows.size());
  const Buffers buffers(Carver(step.scratch), *this, rows);
  team.each(rows, [&](int64_t i) {
    norm_.apply(step.kernels, step.hidden + step.batch.rows[i] * dim_, buffers.normed.row(i), dim_);
    buffers.normed.publish(step.kernels, i);
  });
  project(team, step.kernels, {{*output_, buffers.normed, step.logits, output_->rows}}, rows);
  if (softcap_ > 0) cap(team, step.logits, rows * output_->rows);
}

void Head::cap(Team& team, float* logits, int64_t n) const {
  constexpr int64_t kPiece = 4096;
  team.each((n + kPiece - 1) / kPiece, [&](int64_t piece) {
    for (int64_t i = piece * kPiece; i < std::min(n, (piece + 1) * kPiece); ++i)
      logits[i] = softcap_ * std::tanh(logits[i] / softcap_);
  });
}

}  // namespace ktd
