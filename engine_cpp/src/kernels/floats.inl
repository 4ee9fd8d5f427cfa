// F32, F16 and BF16 weights by float activations, summed in floats.

namespace ktd::KTD_ISA {
namespace {

struct ItemF32 {
  using Item = float;
  KTD_WORD F load(const Item* p) { return KTD_ISA::load(p); }
  KTD_WORD void store(Item* p, F x) { KTD_ISA::store(p, x); }
};
struct ItemF16 {
  using Item = uint16_t;
  KTD_WORD F load(const Item* p) { return load_f16(p); }
  KTD_WORD void store(Item* p, F x) { store_f16(p, x); }
};
struct ItemBF16 {
  using Item = uint16_t;
  KTD_WORD F load(const Item* p) { return load_bf16(p); }
  KTD_WORD void store(Item* p, F x) { store_bf16(p, x); }
};

// The first n < kF items, and zeros.
template <class As>
inline F load_tail(const typename As::Item* p, int64_t n) {
  typename As::Item part[kF] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(n) * sizeof(part[0]));
  return As::load(part);
}

template <class As>
struct FloatRows {
  static constexpr int kSums = kFloatSums, kRows = 4;

  template <int R, int T>
  static void tile(const Matmul& m, int64_t row, int64_t token);
};

template <class As>
template <int R, int T>
void FloatRows<As>::tile(const Matmul& m, int64_t row, int64_t token) {
  using Item = typename As::Item;
  const Item* w[R];
  const float* x[T];
  F sums[R][T];
  unroll<R>([&](auto r) KTD_INLINE {
    w[r.value] = reinterpret_cast<const Item*>(m.rows + static_cast<size_t>(row + r.value) * m.row_bytes);
    unroll<T>([&](auto t) KTD_INLINE { sums[r.value][t.value] = set(0); });
  });
  unroll<T>([&](auto t)
                KTD_INLINE { x[t.value] = reinterpret_cast<const float*>(activation(m, token + t.value)); });
  const size_t ahead = bytes_ahead(R * m.row_bytes);
  int64_t i = 0;
  for (; i + kF <= m.k; i += kF) {
    unroll<R>([&](auto r) KTD_INLINE {
      prefetch<kF * sizeof(Item)>(reinterpret_cast<const std::byte*>(w[r.value] + i) + ahead);
      const F weight = As::load(w[r.value] + i);
      unroll<T>([&](auto t) KTD_INLINE {
        sums[r.value][t.value] = fma(weight, load(x[t.value] + i), sums[r.value][t.value]);
      });
    });
  }
  if (i < m.k) {
    unroll<R>([&](auto r) KTD_INLINE {
      const F weight = load_tail<As>(w[r.value] + i, m.k - i);
      unroll<T>([&](auto t) KTD_INLINE {
        sums[r.value][t.value] =
            fma(weight, load_tail<ItemF32>(x[t.value] + i, m.k - i), sums[r.value][t.value]);
      });
    });
  }
  store_sums<R, T>(m, row, token, sums);
}

}  // namespace
}  // namespace ktd::KTD_ISA
