// Looking back over the cache: softmax-weighted sums of value rows for a block of heads of one token.
#pragma once

#include <cstdint>

#include "base/memory.h"
#include "stages/stage.h"

namespace ktd {

inline constexpr int64_t kHeadBlock = 8;  // heads that read a cache page together

// Where heads find their key and value in a cache row: first value and width of each.
struct CacheView {
  size_t layer;
  int64_t key, key_width;
  int64_t value, value_width;
};

// What of its past a token sees, and how scores are changed before the softmax.
struct Reach {
  int64_t end = 0;               // rows of the cache seen; 0: those up to its own
  int64_t window = 0;            // tokens seen, its own included; 0: all
  float softcap = 0;             // scores become softcap * tanh(score / softcap); 0: they stay
  const float* sinks = nullptr;  // [heads] scores that take their part of the softmax and have no value
};

// Scratch of one thread for up to kHeadBlock heads that share keys and values.
struct HeadBlock {
  HeadBlock(Carver& carver, const CacheView& view, int64_t page_tokens)
      : q(carver.take<float>(kHeadBlock * view.key_width)),
        mix(carver.take<float>(kHeadBlock * view.value_width)),
        peak(carver.take<float>(kHeadBlock)),
        sum(carver.take<float>(kHeadBlock)),
        scores(carver.take<float>(kHeadBlock * page_tokens)) {}

  float* q;       // [heads, key_width], scaled; the caller writes it
  float* mix;     // [heads, value_width], what attend makes
  float* peak;    // [heads] largest score so far
  float* sum;     // [heads] of exp(score - peak)
  float* scores;  // [heads, page_tokens]
};

// mix = softmax(q . keys) . values over the rows up to the token's own that are within reach.
void attend(const HeadBlock& block, int64_t heads, const CacheView& view, const Step& step, int64_t token,
            const Reach& reach = {});

// Stores a token's row in its place of the cache.
void store_row(const Step& step, size_t layer, int64_t token, const float* row, int64_t width);

}  // namespace ktd
