#include "stages/attend.h"

#include <cmath>
#include <limits>

namespace ktd {
namespace {

constexpr int64_t kLeastPiece = 256;  // keys that are worth a piece of their own

int64_t piece_keys(const Range& range) {
  const int64_t even = (range.end - range.begin + kMostPieces - 1) / kMostPieces;
  return (std::max(kLeastPiece, even) + kKeyTile - 1) / kKeyTile * kKeyTile;
}

}  // namespace

void Findings::start(int64_t row, int64_t value_width, const Range& range, const float* sink) const {
  std::fill_n(mix + row * mix_stride, value_width, 0.0f);
  peak[row] = sink ? *sink : -std::numeric_limits<float>::infinity();
  sum[row] = sink ? 1.0f : 0.0f;
  begin[row] = static_cast<int32_t>(range.begin);
  end[row] = static_cast<int32_t>(range.end);
}

void Findings::finish(int64_t row, int64_t value_width) const {
  const float share = 1.0f / sum[row];
  float* x = mix + row * mix_stride;
  for (int64_t i = 0; i < value_width; ++i) x[i] *= share;
}

QueryRows Findings::queries(int64_t first, int64_t rows, const float* q, int64_t q_stride,
                            float softcap) const {
  return {.rows = rows,
          .q = q,
          .q_stride = q_stride,
          .begin = begin + first,
          .end = end + first,
          .softcap = softcap,
          .peak = peak + first,
          .sum = sum + first,
          .mix = mix + first * mix_stride,
          .mix_stride = mix_stride};
}

void attend(const QueryRows& queries, const CacheView& view, const Step& step, int64_t token,
            const Range& range, const TileRoom& room) {
  const AttentionKernels& kernels = *step.kernels.attention;
  const int64_t width = view.key_width;
  for (int64_t first = range.begin; first < range.end; first += kKeyTile) {
    const int64_t count = std::min(kKeyTile, range.end - first);
    load_rows(step, view.layer, token, first, count, view.key, width, room.rows, width);
    kernels.turn_keys(room.rows, width, width, room.keys);
    if (!view.shared())
      load_rows(step, view.layer, token, first, count, view.value, view.value_width, room.values,
                view.value_width);
    kernels.attend(queries, {.keys = room.keys,
                             .key_width = width,
                             .values = view.shared() ? room.rows + view.value - view.key : room.values,
                             .value_stride = view.shared() ? width : view.value_width,
                             .value_width = view.value_width,
                             .first = first,
                             .count = count});
  }
}

int64_t pieces(const Range& range) {
  const int64_t keys = piece_keys(range);
  return (range.end - range.begin + keys - 1) / keys;
}

Range piece(const Range& range, int64_t i) {
  const int64_t keys = piece_keys(range), begin = range.begin + i * keys;
  return {begin, std::min(range.end, begin + keys)};
}

void PieceFindings::merge(const Kernels& kernels, int64_t slot, int64_t head, int64_t count,
                          float* out) const {
  float peak = -std::numeric_limits<float>::infinity(), total = 0;
  for (int64_t i = 0; i < count; ++i) peak = std::max(peak, found_.peak[row(slot, i, head)]);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = row(slot, i, head);
    total += found_.sum[at] * std::exp(found_.peak[at] - peak);
  }
  std::fill_n(out, width_, 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = row(slot, i, head);
    kernels.axpy(std::exp(found_.peak[at] - peak) / total, found_.mix + at * width_, out, width_);
  }
}

void load_rows(const Step& step, size_t layer, int64_t token, int64_t first, int64_t count, int64_t begin,
               int64_t width, float* to, int64_t stride) {
  const int64_t size = step.cache.page_tokens(), end = first + count;
  const size_t row_bytes = step.cache.row_bytes(layer);
  const LoadRowsFn load = step.kernels.attention->load_rows[static_cast<size_t>(step.cache.type())];
  const int32_t* pages = step.batch.pages_of(token);
  for (int64_t row = first, next; row < end; row = next) {
    next = std::min(end, (row / size + 1) * size);
    load(step.cache.page(layer, pages[row / size]) + row % size * row_bytes, row_bytes, next - row, begin,
         width, to + (row - first) * stride, stride);
  }
}

void store_row(const Step& step, size_t layer, int64_t token, const float* row, int64_t width) {
  const int64_t position = step.batch.positions[token], size = step.cache.page_tokens();
  std::byte* page = step.cache.page(layer, step.batch.pages_of(token)[position / size]);
  const auto type = static_cast<size_t>(step.cache.type());
  step.kernels.attention->store_row[type](row, page + position % size * step.cache.row_bytes(layer), width);
}

}  // namespace ktd
