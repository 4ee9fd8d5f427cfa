// What elementwise work and attention share: walks over any length, e^x, and the rounding to bytes.

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

}  // namespace
}  // namespace ktd::KTD_ISA
