// A stage of the model: facts bound to weights, walked by all threads of a team together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.h"
#include "kernels/table.h"
#include "machine/pool.h"
#include "state/batch.h"
#include "state/cache.h"

namespace ktd {

// What the stages of one step read and write.
struct Step {
  const Kernels& kernels;
  const Batch& batch;
  std::span<const Run> runs;  // of the batch, in order: all its tokens
  KvCache& cache;
  const float* given;  // [n, dim] states of another model, where the stages go on from them; else null
  float* hidden;       // [n, dim]
  float* logits;       // [m, vocab], written by the head
  float* states;       // [kept, dim], written by the head
  std::byte* scratch;  // shared by the stages in turn
};

class Stage {
 public:
  virtual ~Stage() = default;

  // Bytes of Step::scratch that a step of `tokens` tokens needs with `threads` threads.
  virtual size_t scratch_bytes(int64_t tokens, int threads) const { return 0; }

  // Every member of the team calls this with the same step. Must not throw.
  virtual void run(Team& team, Step& step) const = 0;
};

}  // namespace ktd
