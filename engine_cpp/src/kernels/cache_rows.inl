// Rows of the KV cache: floats to a cache type and back.

namespace ktd::KTD_ISA {
namespace {

template <class As>
void store_row(const float* x, std::byte* dst, int64_t n) {
  using Item = typename As::Item;
  auto* to = reinterpret_cast<Item*>(dst);
  int64_t i = 0;
  for (; i + kF <= n; i += kF) As::store(to + i, load(x + i));
  if (i < n) {
    Item part[kF];
    As::store(part, load_n(x + i, n - i));
    __builtin_memcpy(to + i, part, static_cast<size_t>(n - i) * sizeof(Item));
  }
}

template <class As>
void load_rows(const std::byte* rows, size_t row_bytes, int64_t count, int64_t begin, int64_t n, float* to,
               int64_t stride) {
  for (int64_t r = 0; r < count; ++r, rows += row_bytes, to += stride) {
    const auto* row = reinterpret_cast<const typename As::Item*>(rows) + begin;
    int64_t i = 0;
    for (; i + kF <= n; i += kF) store(to + i, As::load(row + i));
    if (i < n) store_n(to + i, load_tail<As>(row + i, n - i), n - i);
  }
}

inline F load_i8_n(const int8_t* p, Constant<kF>) {
  return load_i8(p);
}
inline F load_i8_n(const int8_t* p, int64_t n) {
  int8_t part[kF] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(n));
  return load_i8(part);
}

// The last block may be cut short by the row; what lies behind is zero.
void store_row_q8_0(const float* x, std::byte* dst, int64_t n) {
  auto* blocks = reinterpret_cast<BlockQ8_0*>(dst);
  for (int64_t i = 0; i < n; i += 32, ++blocks) {
    float part[32] = {}, d, sums[2];
    __builtin_memcpy(part, x + i, static_cast<size_t>(n - i < 32 ? n - i : 32) * sizeof(float));
    int8_t q[32];
    quantize_block(part, q, &d, sums);
    __builtin_memcpy(blocks->qs, q, sizeof q);
    blocks->d = float_to_half(d);
  }
}

void load_rows_q8_0(const std::byte* rows, size_t row_bytes, int64_t count, int64_t begin, int64_t n,
                    float* to, int64_t stride) {
  for (int64_t r = 0; r < count; ++r, rows += row_bytes, to += stride) {
    const auto* blocks = reinterpret_cast<const BlockQ8_0*>(rows);
    for (int64_t i = 0, next; i < n; i = next) {
      const auto& block = blocks[(begin + i) / 32];
      const int64_t skipped = (begin + i) % 32;
      next = i + 32 - skipped < n ? i + 32 - skipped : n;
      const F d = set(half(block.d));
      each_vector(next - i, [&](int64_t j, auto lanes) {
        store_n(to + i + j, load_i8_n(block.qs + skipped + j, lanes) * d, lanes);
      });
    }
  }
}

}  // namespace
}  // namespace ktd::KTD_ISA
