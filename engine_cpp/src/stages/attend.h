// Looking back over the cache: softmax-weighted sums of value rows for query rows that share keys and values.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/memory.h"
#include "stages/stage.h"

namespace ktd {

// Where query rows find their key and value in a cache row: first value and width of each.
struct CacheView {
  size_t layer;
  int64_t key, key_width;
  int64_t value, value_width;

  // The values are a part of the keys: what is read for these serves both.
  bool shared() const { return value >= key && value + value_width <= key + key_width; }
};

// Places [begin, end) of a sequence.
struct Range {
  int64_t begin, end;
};

// What query rows have found so far.
struct Findings {
  Findings(Carver& carver, int64_t rows, float* mix, int64_t mix_stride)
      : mix(mix),
        mix_stride(mix_stride),
        peak(carver.take<float>(rows)),
        sum(carver.take<float>(rows)),
        begin(carver.take<int32_t>(rows)),
        end(carver.take<int32_t>(rows)) {}

  // Nothing yet of the keys in `range`. A sink is a score that takes its part of the softmax without a value.
  void start(int64_t row, int64_t value_width, const Range& range, const float* sink) const;
  // Sums to means.
  void finish(int64_t row, int64_t value_width) const;
  // `rows` of them from `first` on, as kernels take them.
  QueryRows queries(int64_t first, int64_t rows, const float* q, int64_t q_stride, float softcap) const;

  float* mix;  // [rows, value_width]
  int64_t mix_stride;
  float *peak, *sum;     // [rows] largest score, and of exp(score - peak)
  int32_t *begin, *end;  // [rows] the keys they see
};

// Scratch of one thread for the keys and values of a tile.
struct TileRoom {
  TileRoom(Carver& carver, const CacheView& view)
      : rows(carver.take<float>(kKeyTile * view.key_width)),
        keys(carver.take<float>(kKeyTile * view.key_width)),
        values(carver.take<float>(view.shared() ? 0 : kKeyTile * view.value_width)) {}

  float* rows;    // [kKeyTile, key_width]
  float* keys;    // [key_width, kKeyTile]
  float* values;  // [kKeyTile, value_width]
};

// The rows look at the keys in `range` of the sequence that `token` belongs to.
void attend(const QueryRows& queries, const CacheView& view, const Step& step, int64_t token,
            const Range& range, const TileRoom& room);

// A long look of one token is cut into pieces that threads share. Where the cuts are depends on nothing but
// the range, so that sums depend neither on threads nor on what else is in the step.
inline constexpr int64_t kMostPieces = 16;
int64_t pieces(const Range& range);
Range piece(const Range& range, int64_t i);

// Tokens that look back in pieces: as many at a time as there is room for what the pieces find.
struct Round {
  static constexpr int64_t kTokens = 8;
  int64_t tokens[kTokens];
  int64_t count = 0;
  int64_t pieces = 0;  // the most that any of them has
};

// What the pieces of a round find.
class PieceFindings {
 public:
  PieceFindings(Carver& carver, int64_t tokens, int64_t heads, int64_t value_width)
      : heads_(heads),
        width_(value_width),
        found_(carver, tokens * kMostPieces * heads,
               carver.take<float>(tokens * kMostPieces * heads * value_width), value_width) {}

  const Findings& all() const { return found_; }
  int64_t row(int64_t slot, int64_t piece, int64_t head) const {
    return (slot * kMostPieces + piece) * heads_ + head;
  }
  // out[0..value_width) = the mean over the first `count` pieces.
  void merge(const Kernels& kernels, int64_t slot, int64_t head, int64_t count, float* out) const;

 private:
  int64_t heads_, width_;
  Findings found_;  // [tokens of a round, kMostPieces, heads]
};

// Calls `work(round)` for all tokens of the runs that `alone(run)` accepts; `range(token)` is what one sees.
template <class Alone, class Sees, class Work>
void each_round(const Step& step, Alone alone, Sees sees, Work work) {
  Round round;
  for (const Run& run : step.runs) {
    for (int64_t t = run.token; alone(run) && t < run.token + run.count; ++t) {
      round.tokens[round.count++] = t;
      round.pieces = std::max(round.pieces, pieces(sees(t)));
      if (round.count < Round::kTokens) continue;
      work(round);
      round = {};
    }
  }
  if (round.count > 0) work(round);
}

// Rows [first, first + count) of a token's sequence, values [begin, begin + width) of each, as floats.
void load_rows(const Step& step, size_t layer, int64_t token, int64_t first, int64_t count, int64_t begin,
               int64_t width, float* to, int64_t stride);

// Stores a token's row in its place of the cache.
void store_row(const Step& step, size_t layer, int64_t token, const float* row, int64_t width);

}  // namespace ktd
