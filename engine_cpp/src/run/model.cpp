#include "run/model.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace ktd {
namespace {

size_t most_scratch(const std::vector<std::unique_ptr<Stage>>& stages, int64_t tokens, int threads) {
  size_t most = 0;
  for (const auto& stage : stages) most = std::max(most, stage->scratch_bytes(tokens, threads));
  return most;
}

void check_range(const char* what, std::span<const int32_t> values, int64_t limit) {
  for (int32_t value : values)
    if (value < 0 || value >= limit)
      throw EngineError(std::string(what) + " " + std::to_string(value) + " is not in 0 to " +
                        std::to_string(limit - 1));
}

}  // namespace

Model::Model(Machine& machine, ModelFacts facts, std::vector<std::unique_ptr<Stage>> stages)
    : machine_(machine),
      facts_(std::move(facts)),
      stages_(std::move(stages)),
      hidden_(facts_.max_tokens * facts_.dim * sizeof(float), "the hidden state"),
      scratch_(most_scratch(stages_, facts_.max_tokens, machine.pool.size()), "the scratch of a step") {}

void Model::forward(KvCache& cache, const Batch& batch, const float* given, float* logits, float* states) {
  check(cache, batch);
  if ((given != nullptr) != facts_.continues)
    throw EngineError("states to go on from are given to a model that continues another, and to no other");
  find_runs(batch);
  Step step{machine_.kernels, batch,  runs_,          cache, given, reinterpret_cast<float*>(hidden_.data()),
            logits,           states, scratch_.data()};
  machine_.pool.run([&](Team& team) {
    for (const auto& stage : stages_) stage->run(team, step);
  });
}

void Model::find_runs(const Batch& batch) {
  runs_.clear();
  for (int64_t t = 0; t < batch.size(); ++t) {
    const bool follows = t > 0 && batch.sequences[t] == batch.sequences[t - 1] &&
                         batch.positions[t] == batch.positions[t - 1] + 1;
    if (follows)
      ++runs_.back().count;
    else
      runs_.push_back({t, 1});
  }
}

void Model::check(const KvCache& cache, const Batch& batch) const {
  if (batch.size() < 1 || batch.size() > facts_.max_tokens)
    throw EngineError("a step takes 1 to " + std::to_string(facts_.max_tokens) + " tokens, not " +
                      std::to_string(batch.size()));
  if (batch.positions.size() != batch.tokens.size() || batch.sequences.size() != batch.tokens.size())
    throw EngineError("tokens, positions and sequences differ in length");
  if (cache.layers() != facts_.cache_widths.size()) throw EngineError("the cache was made for another model");
  if (static_cast<int64_t>(batch.rows.size()) > facts_.max_tokens)
    throw EngineError("more rows of logits are wanted than a step has tokens");
  if (!facts_.logits && !batch.rows.empty()) throw EngineError("this model has states only, no logits");
  check_range("token", batch.tokens, facts_.vocab);
  check_range("row", batch.rows, batch.size());
  check_range("kept row", batch.kept, batch.size());
  check_range("sequence", batch.sequences, batch.page_rows);
  check_range("position", batch.positions,
              std::min(facts_.context, batch.page_columns * cache.page_tokens()));
  for (int64_t t = 0; t < batch.size(); ++t) {
    const int64_t used = batch.positions[t] / cache.page_tokens() + 1;
    check_range("page", {batch.pages_of(t), static_cast<size_t>(used)}, cache.pages());
  }
}

}  // namespace ktd
