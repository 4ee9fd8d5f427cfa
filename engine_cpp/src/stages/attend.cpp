#include "stages/attend.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ktd {
namespace {

void scale_by(float* x, int64_t n, float factor) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

// Takes the rows of one page into the running softmax.
void attend_to_page(const HeadBlock& block, int64_t heads, const CacheView& view, const Step& step,
                    const std::byte* page, int64_t rows) {
  const Kernels& kernels = step.kernels;
  const auto type = static_cast<size_t>(step.cache.type());
  const size_t row_bytes = step.cache.row_bytes(view.layer), value_bytes = step.cache.value_bytes();
  const int64_t stride = step.cache.page_tokens();
  kernels.matmul[type]({.rows = page + view.key * value_bytes,
                        .row_bytes = row_bytes,
                        .n_rows = rows,
                        .k = view.key_width,
                        .acts = reinterpret_cast<const std::byte*>(block.q),
                        .act_bytes = view.key_width * sizeof(float),
                        .gather = nullptr,
                        .n_tokens = heads,
                        .out = block.scores,
                        .out_stride = stride});
  for (int64_t i = 0; i < heads; ++i) {
    float* scores = block.scores + i * stride;
    float* mix = block.mix + i * view.value_width;
    const float peak = std::max(block.peak[i], kernels.max(scores, rows));
    if (peak > block.peak[i]) {
      const float shrink = std::exp(block.peak[i] - peak);
      scale_by(mix, view.value_width, shrink);
      block.sum[i] *= shrink;
      block.peak[i] = peak;
    }
    block.sum[i] += kernels.exp_sub_sum(scores, peak, rows);
    kernels.mix_rows[type](page + view.value * value_bytes, row_bytes, rows, scores, mix, view.value_width);
  }
}

}  // namespace

void attend(const HeadBlock& block, int64_t heads, const CacheView& view, const Step& step, int64_t token) {
  std::fill_n(block.mix, heads * view.value_width, 0.0f);
  std::fill_n(block.peak, heads, -std::numeric_limits<float>::infinity());
  std::fill_n(block.sum, heads, 0.0f);
  const int64_t rows = step.batch.positions[token] + int64_t{1}, size = step.cache.page_tokens();
  const int32_t* pages = step.batch.pages_of(token);
  for (int64_t done = 0; done < rows; done += size)
    attend_to_page(block, heads, view, step, step.cache.page(view.layer, *pages++),
                   std::min(size, rows - done));
  for (int64_t i = 0; i < heads; ++i)
    scale_by(block.mix + i * view.value_width, view.value_width, 1.0f / block.sum[i]);
}

void store_row(const Step& step, size_t layer, int64_t token, const float* row, int64_t width) {
  const int64_t position = step.batch.positions[token], size = step.cache.page_tokens();
  std::byte* page = step.cache.page(layer, step.batch.pages_of(token)[position / size]);
  const auto type = static_cast<size_t>(step.cache.type());
  step.kernels.store_row[type](row, page + position % size * step.cache.row_bytes(layer), width);
}

}  // namespace ktd
