// Everything that is not a matrix product nor attention: activation rows, norms, gates.

namespace ktd::KTD_ISA {
namespace {

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

}  // namespace
}  // namespace ktd::KTD_ISA
