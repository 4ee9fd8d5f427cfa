#include "stages/combine.h"

#include "base/error.h"
#include "stages/project.h"

namespace ktd {

struct Combine::Buffers {
  Buffers(Carver carver, const Matrix& project, int64_t tokens)
      : both(carver, tokens, project.k, Formats().add(project.traits)), bytes(carver.used()) {}
  Activations both;  // [n, 2 dim]
  size_t bytes;
};

Combine::Combine(const Tensor& table, Norm norm, Norm state_norm, const Tensor& project)
    : table_(matrix(table)), norm_(norm), state_norm_(state_norm), project_(matrix(project)) {
  if (project_.rows != table_.k || project_.k != 2 * table_.k)
    throw EngineError("tensor " + project.name + " does not take two rows of the embedding to one");
}

size_t Combine::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), project_, tokens).bytes;
}

void Combine::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size(), dim = table_.k;
  const Buffers buffers(Carver(step.scratch), project_, n);
  team.each(n, [&](int64_t t) {
    float* row = buffers.both.row(t);
    table_.traits->dequantize(table_.row(step.batch.tokens[t]), row, dim);
    norm_.apply(step.kernels, row, row, dim);
    state_norm_.apply(step.kernels, step.given + t * dim, row + dim, dim);
    buffers.both.publish(step.kernels, t);
  });
  project(team, step.kernels, {{project_, buffers.both, step.hidden, dim}}, n);
}

}  // namespace ktd
