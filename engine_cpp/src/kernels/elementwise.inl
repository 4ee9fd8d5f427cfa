// Everything that is not a matrix product: activation rows, norms, gates, softmax pieces, cache rows.

namespace ktd::KTD_ISA {
namespace {

// Runs `step(i, n)` for whole vectors (n == kF) and once for what is left.
template <class Step>
[[gnu::always_inline]] inline void each_vector(int64_t n, Step step) {
  int64_t i = 0;
  for (; i + kF <= n; i += kF) step(i, Constant<kF>{});
  if (i < n) step(i, n - i);
}

// Loads and stores of a whole vector, or of its first n lanes (the rest is `fill`).
inline F load_n(const float* p, Constant<kF>, float = 0) {
  return load(p);
}
inline F load_n(const float* p, int64_t n, float fill = 0) {
  float part[kF];
  store(part, set(fill));
  __builtin_memcpy(part, p, static_cast<size_t>(n) * sizeof(float));
  return load(part);
}
inline void store_n(float* p, F x, Constant<kF>) {
  store(p, x);
}
inline void store_n(float* p, F x, int64_t n) {
  float part[kF];
  store(part, x);
  __builtin_memcpy(p, part, static_cast<size_t>(n) * sizeof(float));
}

// e^x within 2 units in the last place; 0 from -104 down (and for -inf), inf from 89 up.
// x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts, the first so short that n times it is exact); e^r
// by its Taylor series to r^7, whose rest is below 2^-28; 2^n in two factors, so that results near the ends
// of the range neither overflow nor vanish on the way.
KTD_WORD F exp(F x) {
  x = max(set(-105.0f), min(set(89.0f), x));
  const I n = round(x * set(0x1.715476p0f));
  const F k = to_float(n);
  const F r = fnma(k, set(1.42860677e-6f), fnma(k, set(0x1.62e4p-1f), x));
  F p = set(1.0f / 5040);
  p = fma(p, r, set(1.0f / 720));
  p = fma(p, r, set(1.0f / 120));
  p = fma(p, r, set(1.0f / 24));
  p = fma(p, r, set(1.0f / 6));
  p = fma(p, r, set(0.5f));
  p = fma(p * r, r, r) + set(1.0f);
  return p * pow2(half_of(n)) * pow2(minus(n, half_of(n)));
}

// 32 floats to one scale, 32 integers and two sums. A NaN or infinity makes the scale NaN: the fault then
// shows in every product instead of hiding in a clipped integer.
inline void quantize_block(const float* x, int8_t* q, float* d, float* s) {
  constexpr float kTiny = 0x1p-100f;  // below, 127 / top would overflow: such a block is zero
  F top = set(0), poison = set(0);
  for (int i = 0; i < 32; i += kF) {
    top = max(top, abs(load(x + i)));
    poison = fma(load(x + i), set(0), poison);
  }
  const float most = max_of(top);
  const F inverse = set(most > kTiny ? 127.0f / most : 0.0f);
  const float scale = (most > kTiny ? most / 127.0f : 0.0f) + sum(poison);
  for (int i = 0; i < 32; i += 16) {
    int total = 0;
    for (int j = 0; j < 16; j += kF) {
      const F scaled = load(x + i + j) * inverse;
      const I rounded = round(max(set(-127.0f), min(scaled, set(127.0f))));
      store_i8(q + i + j, rounded);
      total += sum(rounded);
    }
    s[i / 16] = scale * static_cast<float>(total);
  }
  *d = scale;
}

// The four groups of a block of 32, to their columns of the turned plane.
inline void turn_block(const int8_t* q, int8_t* t) {
  for (int i = 0; i < 4; ++i) __builtin_memcpy(t + 64 * i, q + 8 * i, 8);
}

void quantize_q8(const float* x, std::byte* act, int64_t n, int64_t begin, int64_t count) {
  auto* q = reinterpret_cast<int8_t*>(act);
  auto* d = reinterpret_cast<float*>(act + ActQ8::d_offset(n));
  auto* s = reinterpret_cast<float*>(act + ActQ8::s_offset(n));
  auto* t = reinterpret_cast<int8_t*>(act + ActQ8::t_offset(n));
  const int64_t end = begin + count;
  for (int64_t i = begin; i < end; i += 32) {
    quantize_block(x + i - begin, q + i, d + i / 32, s + i / 16);
    turn_block(q + i, t + i / 256 * 256 + i % 256 / 4);
  }
  if (end == n) {
    for (int64_t i = n; i < ActQ8::padded(n); i += 32) d[i / 32] = s[i / 16] = s[i / 16 + 1] = 0;
  }
}

void rms_norm(const float* x, const float* weight, float eps, float* y, int64_t n) {
  F squares = set(0);
  each_vector(n, [&](int64_t i, auto lanes) {
    const F part = load_n(x + i, lanes);
    squares = fma(part, part, squares);
  });
  const F scale = set(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(n) + eps));
  each_vector(n, [&](int64_t i, auto lanes) {
    store_n(y + i, load_n(x + i, lanes) * scale * load_n(weight + i, lanes), lanes);
  });
}

// Two passes: the variance is of the differences from the mean, so that a large mean costs no digits.
void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* y, int64_t n) {
  F total = set(0), squares = set(0);
  each_vector(n, [&](int64_t i, auto lanes) { total = total + load_n(x + i, lanes); });
  const float mean = sum(total) / static_cast<float>(n);
  each_vector(n, [&](int64_t i, auto lanes) {
    const F part = load_n(x + i, lanes, mean) - set(mean);
    squares = fma(part, part, squares);
  });
  const F scale = set(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(n) + eps));
  each_vector(n, [&](int64_t i, auto lanes) {
    const F normed = (load_n(x + i, lanes) - set(mean)) * scale;
    store_n(y + i, fma(normed, load_n(weight + i, lanes), load_n(bias + i, lanes)), lanes);
  });
}

void silu_mul(const float* gate, const float* up, float* y, int64_t n) {
  each_vector(n, [&](int64_t i, auto lanes) {
    const F g = load_n(gate + i, lanes);
    store_n(y + i, g / (set(1) + exp(set(0) - g)) * load_n(up + i, lanes), lanes);
  });
}

void axpy(float a, const float* x, float* y, int64_t n) {
  each_vector(n, [&](int64_t i, auto lanes) {
    store_n(y + i, fma(set(a), load_n(x + i, lanes), load_n(y + i, lanes)), lanes);
  });
}

float max_value(const float* x, int64_t n) {
  constexpr float kLeast = -__builtin_inff();
  F top = set(kLeast);
  each_vector(n, [&](int64_t i, auto lanes) { top = max(top, load_n(x + i, lanes, kLeast)); });
  return max_of(top);
}

float exp_sub_sum(float* x, float shift, int64_t n) {
  constexpr float kNone = -__builtin_inff();  // lanes past the end add e^-inf
  F total = set(0);
  each_vector(n, [&](int64_t i, auto lanes) {
    const F e = exp(load_n(x + i, lanes, kNone) - set(shift));
    store_n(x + i, e, lanes);
    total = total + e;
  });
  return sum(total);
}

// --- rows of a cache ---

// C vectors of y, through all rows: y stays in registers.
template <class As, int C>
void mix_columns(const std::byte* rows, size_t row_bytes, int64_t n_rows, const float* p, float* y) {
  F sums[C];
  unroll<C>([&](auto c) KTD_INLINE { sums[c.value] = load(y + c.value * kF); });
  for (int64_t r = 0; r < n_rows; ++r, rows += row_bytes) {
    const auto* row = reinterpret_cast<const typename As::Item*>(rows);
    const F weight = set(p[r]);
    unroll<C>([&](auto c)
                  KTD_INLINE { sums[c.value] = fma(weight, As::load(row + c.value * kF), sums[c.value]); });
  }
  unroll<C>([&](auto c) KTD_INLINE { store(y + c.value * kF, sums[c.value]); });
}

template <class As>
void mix_tail(const std::byte* rows, size_t row_bytes, int64_t n_rows, const float* p, float* y, int64_t n) {
  F total = load_n(y, n);
  for (int64_t r = 0; r < n_rows; ++r, rows += row_bytes)
    total = fma(set(p[r]), load_tail<As>(reinterpret_cast<const typename As::Item*>(rows), n), total);
  store_n(y, total, n);
}

template <class As>
void mix_rows(const std::byte* rows, size_t row_bytes, int64_t n_rows, const float* p, float* y, int64_t n) {
  constexpr int kWide = 8;
  constexpr size_t kItem = sizeof(typename As::Item);
  int64_t i = 0;
  for (; i + kWide * kF <= n; i += kWide * kF)
    mix_columns<As, kWide>(rows + static_cast<size_t>(i) * kItem, row_bytes, n_rows, p, y + i);
  for (; i + kF <= n; i += kF)
    mix_columns<As, 1>(rows + static_cast<size_t>(i) * kItem, row_bytes, n_rows, p, y + i);
  if (i < n) mix_tail<As>(rows + static_cast<size_t>(i) * kItem, row_bytes, n_rows, p, y + i, n - i);
}

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

}  // namespace
}  // namespace ktd::KTD_ISA
