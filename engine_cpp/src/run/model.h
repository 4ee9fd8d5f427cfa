// The stages of a model in order, with the memory that a step needs: one call computes one step.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/memory.h"
#include "machine/machine.h"
#include "stages/stage.h"
#include "state/batch.h"
#include "state/cache.h"

namespace ktd {

struct ModelFacts {
  int64_t dim;
  int64_t vocab;
  int64_t context;                    // positions that the model can tell apart
  bool logits;                        // an encoder has none
  bool continues;                     // the states of another model, which every step is given
  int64_t max_tokens;                 // of one step
  std::vector<int64_t> cache_widths;  // one per attention stage, in order
  size_t derived_bytes;               // weights made at load, beside those of the files
  bool streamed;                      // memory does not hold all experts
};

class Model {
 public:
  Model(Machine& machine, ModelFacts facts, std::vector<std::unique_ptr<Stage>> stages);
  Model(const Model&) = delete;

  // Writes logits [rows, vocab] and states [kept, dim] of the batch; `given` are the states [n, dim] that it
  // continues, or null. Throws EngineError when the batch does not fit model and cache.
  void forward(KvCache& cache, const Batch& batch, const float* given, float* logits, float* states);

  const ModelFacts& facts() const { return facts_; }
  size_t scratch_bytes() const { return hidden_.bytes() + scratch_.bytes(); }

 private:
  void check(const KvCache& cache, const Batch& batch) const;
  void find_runs(const Batch& batch);

  Machine& machine_;
  const ModelFacts facts_;
  const std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<Run> runs_;  // of the step
  Memory hidden_;          // [max_tokens, dim]
  Memory scratch_;         // the stages share it in turn
};

}  // namespace ktd
