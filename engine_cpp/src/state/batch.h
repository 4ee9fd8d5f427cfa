// What one step computes; the arrays belong to the caller. See engine/batch.py.
#pragma once

#include <cstdint>
#include <span>

namespace ktd {

struct Batch {
  std::span<const int32_t> tokens;     // [n] ids
  std::span<const int32_t> positions;  // [n]
  std::span<const int32_t> sequences;  // [n] row of `pages`
  std::span<const int32_t> rows;       // [m] tokens whose logits are wanted
  std::span<const int32_t> kept;       // tokens whose last states are wanted
  const int32_t* pages;                // [sequences, page_columns]
  int64_t page_rows;
  int64_t page_columns;

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  // Tokens that the sequence of a token has after this step.
  int64_t length(int64_t token) const {
    while (token + 1 < size() && sequences[token + 1] == sequences[token]) ++token;
    return positions[token] + int64_t{1};
  }
  const int32_t* pages_of(int64_t token) const { return pages + sequences[token] * page_columns; }
};

// Tokens of one sequence that follow each other, in the step as in the sequence.
struct Run {
  int64_t token;  // the first
  int64_t count;
};

}  // namespace ktd
