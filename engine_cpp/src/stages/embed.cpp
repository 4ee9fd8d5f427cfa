#include "stages/embed.h"

namespace ktd {

Embed::Embed(const Tensor& table, float scale, const Tensor* positions, const Tensor* types)
    : table_(matrix(table)),
      scale_(scale),
      positions_(positions ? std::optional(matrix(*positions)) : std::nullopt),
      type_(types ? table_.k : 0) {
  if (types) types->traits->dequantize(types->data, type_.data(), table_.k);
}

size_t Embed::scratch_bytes(int64_t tokens, int threads) const {
  return positions_ ? tokens * table_.k * sizeof(float) : 0;
}

void Embed::run(Team& team, Step& step) const {
  team.each(step.batch.size(), [&](int64_t t) {
    float* hidden = step.hidden + t * table_.k;
    table_.traits->dequantize(table_.row(step.batch.tokens[t]), hidden, table_.k);
    if (scale_ != 1.0f)
      for (int64_t i = 0; i < table_.k; ++i) hidden[i] *= scale_;
    if (!type_.empty()) step.kernels.axpy(1.0f, type_.data(), hidden, table_.k);
    if (positions_) {
      auto* row = reinterpret_cast<float*>(step.scratch) + t * table_.k;
      positions_->traits->dequantize(positions_->row(step.batch.positions[t]), row, table_.k);
      step.kernels.axpy(1.0f, row, hidden, table_.k);
    }
  });
}

}  // namespace ktd
