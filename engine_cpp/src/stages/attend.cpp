#include "stages/attend.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ktd {
namespace {

void scale_by(float* x, int64_t n, float factor) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

void cap(float* scores, int64_t n, float limit) {
  for (int64_t i = 0; i < n; ++i) scores[i] = limit * std::tanh(scores[i] / limit);
}

// Takes the rows of one page into the running softmax.
void attend_to_page(const HeadBlock& block, int64_t heads, const CacheView& view, const Step& step,
                    const std::byte* page, int64_t rows, float softcap) {
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
    if (softcap > 0) cap(scores, rows, softcap);
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

void attend(const HeadBlock& block, int64_t heads, const CacheView& view, const Step& step, int64_t token,
            const Reach& reach) {
  const int64_t end = reach.end > 0 ? reach.end : step.batch.positions[token] + int64_t{1};
  const int64_t size = step.cache.page_tokens();
  const int64_t begin = reach.window > 0 ? std::max(int64_t{0}, end - reach.window) : 0;
  const int32_t* pages = step.batch.pages_of(token);
  std::fill_n(block.mix, heads * view.value_width, 0.0f);
  std::fill_n(block.peak, heads, -std::numeric_limits<float>::infinity());
  std::fill_n(block.sum, heads, 0.0f);
  if (reach.sinks) {
    std::copy_n(reach.sinks, heads, block.peak);
    std::fill_n(block.sum, heads, 1.0f);
  }
  for (int64_t row = begin, next; row < end; row = next) {
    next = std::min(end, (row / size + 1) * size);
    const std::byte* page = step.cache.page(view.layer, pages[row / size]);
    attend_to_page(block, heads, view, step, page + row % size * step.cache.row_bytes(view.layer), next - row,
                   reach.softcap);
  }
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
